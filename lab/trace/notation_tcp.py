"""TCP segments in packetdrill's notation."""

from __future__ import annotations

from functools import partial

from lab.trace import tcp, tcp_options
from lab.trace.conversation import Connection, Endpoint
from lab.trace.packet import Packet

_LETTERS = (
    (tcp.SYN, "S"),
    (tcp.FIN, "F"),
    (tcp.RST, "R"),
    (tcp.PSH, "P"),
    (tcp.ACK, "."),
    (tcp.URG, "U"),
    (tcp.ECE, "E"),
    (tcp.CWR, "W"),
    (tcp.AE, "A"),
)


def tcp_text(packet: Packet, segment: tcp.TCP, connection: Connection) -> str:
    """Return `P. 1:101(100) ack 1 win 502 <nop,nop,TS val 1 ecr 2>`, numbers relative to the connection's.

    The range is that of the payload: SYN and FIN take a number too, but packetdrill does not count them.
    """
    source: Endpoint = ("" if packet.ip is None else packet.ip.src, segment.source_port)
    peer = connection.server if source == connection.client else connection.client
    first = connection.relative(source, segment.seq)
    behind = (first + packet.payload_length) % tcp.SEQUENCE_NUMBERS
    text = f"{_flags(segment.flags)} {first}:{behind}({packet.payload_length})"
    if segment.is_ack:
        text += f" ack {connection.relative(peer, segment.ack)}"
    text += f" win {segment.window}"
    if segment.is_urg:
        text += f" urg {segment.urgent_pointer}"
    if segment.options:
        # A selective acknowledgment names data of the peer.
        relative = partial(connection.relative, peer)
        blocks = [(relative(left), relative(right)) for left, right in segment.sack_blocks]
        text += f" <{','.join(_option(option, blocks) for option in segment.options)}>"
    return text


def _flags(flags: int) -> str:
    return "".join(letter for bit, letter in _LETTERS if flags & bit) or "-"


def _option(option: tcp_options.Option, blocks: list[tuple[int, int]]) -> str:
    match option:
        case tcp_options.EndOfOptions():
            text = "eol"
        case tcp_options.NoOperation():
            text = "nop"
        case tcp_options.MaximumSegmentSize(value):
            text = f"mss {value}"
        case tcp_options.WindowScale(shift):
            text = f"wscale {shift}"
        case tcp_options.SackPermitted():
            text = "sackOK"
        case tcp_options.Sack():
            text = "sack " + " ".join(f"{left}:{right}" for left, right in blocks)
        case tcp_options.Timestamps(value, echo):
            text = f"TS val {value} ecr {echo}"
        case _:
            text = _rare_option(option)
    return text


def _rare_option(option: tcp_options.Option) -> str:
    match option:
        case tcp_options.FastOpen(cookie):
            text = f"FO {cookie.hex()}".rstrip()
        case tcp_options.UserTimeout(seconds):
            text = f"uto {seconds}"
        case tcp_options.MD5Signature(digest):
            text = f"md5 {digest.hex()}"
        case tcp_options.Authentication(key_id, next_key_id, mac):
            text = f"ao {key_id} {next_key_id} {mac.hex()}"
        case tcp_options.Multipath(_, data):
            text = f"mptcp {data.hex()}"
        case tcp_options.UnknownOption(kind, data):
            text = f"option-{kind} {data.hex()}".rstrip()
        case _:
            raise AssertionError(f"an option without a text: {option}")
    return text
