"""What the kernel tells of a TCP connection: TCP_INFO (tcp(7); struct tcp_info of linux/tcp.h)."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

# From the structure's beginning, which has never changed, to tcpi_snd_wnd (Linux 5.4).
_BYTES = struct.Struct("=8B")
_WORDS = struct.Struct("=24I")
_STATES = (
    *("", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT"),
    *("LAST_ACK", "LISTEN", "CLOSING"),
)
_CONGESTION = ("open", "disorder", "CWR", "recovery", "loss")


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """A connection at one moment; windows in segments, times in microseconds.

    Attributes:
        state: as in the socket table, "ESTABLISHED".
        congestion: "open", "disorder", "CWR", "recovery" (fast recovery) or "loss" (after a time-out).
        retransmits: time-outs in a row.
        backoff: how often the time-out has been doubled.
        rto, ato: time-outs of retransmission and of a delayed ACK.
        unacked, sacked, lost, retrans: segments in flight, and what is known of them.
        rtt, rttvar: smoothed round-trip time and its variation.
        ssthresh: 0x7fffffff at first.
        total_retrans: segments sent again since the beginning.
    """

    state: str
    congestion: str
    retransmits: int
    probes: int
    backoff: int
    rto: int
    ato: int
    snd_mss: int
    rcv_mss: int
    unacked: int
    sacked: int
    lost: int
    retrans: int
    pmtu: int
    rcv_ssthresh: int
    rtt: int
    rttvar: int
    ssthresh: int
    cwnd: int
    advmss: int
    reordering: int
    rcv_rtt: int
    rcv_space: int
    total_retrans: int

    @property
    def in_flight(self) -> int:
        """Segments on the way, as the sender reckons."""
        return self.unacked - self.sacked - self.lost + self.retrans

    @property
    def bytes_in_flight(self) -> int:
        """The same in bytes of payload, if every segment is full: the kernel tells of segments alone."""
        return self.in_flight * self.snd_mss


def tcp_info(connection: socket.socket) -> TcpInfo:
    """Return what the kernel tells of a TCP socket now."""
    data = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES.size + _WORDS.size)
    state, congestion, retransmits, probes, backoff, *_options = _BYTES.unpack_from(data)
    words = _WORDS.unpack_from(data, _BYTES.size)
    rto, ato, snd_mss, rcv_mss, unacked, sacked, lost, retrans, _fackets = words[:9]
    pmtu, rcv_ssthresh, rtt, rttvar, ssthresh, cwnd, advmss, reordering, rcv_rtt, rcv_space, total = words[13:24]
    return TcpInfo(
        state=_STATES[state],
        congestion=_CONGESTION[congestion],
        retransmits=retransmits,
        probes=probes,
        backoff=backoff,
        rto=rto,
        ato=ato,
        snd_mss=snd_mss,
        rcv_mss=rcv_mss,
        unacked=unacked,
        sacked=sacked,
        lost=lost,
        retrans=retrans,
        pmtu=pmtu,
        rcv_ssthresh=rcv_ssthresh,
        rtt=rtt,
        rttvar=rttvar,
        ssthresh=ssthresh,
        cwnd=cwnd,
        advmss=advmss,
        reordering=reordering,
        rcv_rtt=rcv_rtt,
        rcv_space=rcv_space,
        total_retrans=total,
    )
