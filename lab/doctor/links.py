"""Trials of what impairs links, and which of its ways a lab would take on this machine."""

from __future__ import annotations

import os

from lab.doctor import arena
from lab.doctor.trial import Refusal, Trial
from lab.link import device, qdisc
from lab.link.mechanism import Mechanism, kernels
from lab.netlink import rtnetlink
from lab.netlink.namespaces import Clone
from lab.plan.model import Impairment

_REMEDY = "modprobe tun && chmod 0666 /dev/net/tun; in a container, start that with --cap-add NET_RAW"
_BY: dict[Mechanism, str] = {"netem": "the kernel (netem)", "tbf": "the kernel (tbf)", "wire": "programmable wires"}


def trials() -> list[Trial]:
    """Return the trials; links that are not impaired need none of it."""
    return [
        Trial("programmable wires", "network", _wires, _REMEDY, required=False),
        Trial("impairments", "network", _impairments, _REMEDY, required=False),
    ]


def _wires() -> str:
    arena.enter(Clone.NET)
    return f"they are made of {_material()}"


def _material() -> str:
    descriptor = device.tap("tap0")
    if descriptor is not None:
        os.close(descriptor)
        return "TAP devices"
    try:
        os.close(device.packet_socket("lo"))
    except PermissionError as error:
        raise Refusal(f"neither TAP devices nor packet sockets: {error.strerror}", "") from error
    return "packet sockets, as there are no TAP devices"


def _impairments() -> str:
    arena.enter(Clone.NET)
    with rtnetlink.open_socket() as channel:
        kinds = qdisc.known(channel)
    wanted = {"delay and loss": Impairment(delay_us=1, loss=0.5), "a rate alone": Impairment(rate_bit=1_000_000)}
    chosen = {what: kernels(impairment, None, kinds) or "wire" for what, impairment in wanted.items()}
    if "wire" in chosen.values():
        _material()
    return "; ".join(f"{what} by {_BY[how]}" for what, how in chosen.items())
