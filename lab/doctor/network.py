"""Trials of interfaces, addresses, routes and captures, in a network namespace of each trial's own."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool
from pyroute2.netlink.exceptions import NetlinkError

from lab.doctor import arena
from lab.doctor.trial import Refusal, Trial
from lab.netlink import namespaces, offload, rtnetlink, sysctl
from lab.netlink.namespaces import Clone

if TYPE_CHECKING:
    from collections.abc import Callable

_EVERY_PROTOCOL = 0x0003  # ETH_P_ALL
_TUNSETIFF, _TAP, _NO_INFORMATION = 0x400454CA, 0x0002, 0x1000
_MTU = 1500
_RATE = 1_250_000  # bytes a second
_HTB_HANDLE = 0x10000


def trials() -> list[Trial]:
    """Return the trials: first what every lab is made of, then what some labs use."""
    required = [
        ("veth", _veth, module("veth", "VETH")),
        ("bridge", _bridge, module("bridge", "BRIDGE")),
        ("addresses and routes", _route, "boot a kernel that has CONFIG_INET"),
        ("offloads off", _offloads, "boot a newer kernel: its veth cannot switch its offloads off"),
        ("capture", _capture, module("af_packet", "PACKET")),
    ]
    optional = [
        ("IPv6", _ipv6, "boot without ipv6.disable=1, a kernel that has CONFIG_IPV6"),
        (
            "tap",
            _tap,
            "modprobe tun && chmod 0666 /dev/net/tun; in a container, start that with --device /dev/net/tun",
        ),
        ("dummy", lambda: _link("dummy"), module("dummy", "DUMMY")),
        ("vlan", _vlan, module("8021q", "VLAN_8021Q")),
        ("vxlan", lambda: _link("vxlan", vxlan_id=1, vxlan_port=4789), module("vxlan", "VXLAN")),
        ("vrf", lambda: _link("vrf", vrf_table=10), module("vrf", "NET_VRF")),
        (
            "tbf",
            lambda: _qdisc("tbf", rate=_RATE, burst=45_000, latency=20_000),
            module("sch_tbf", "NET_SCH_TBF"),
        ),
        ("htb", lambda: _qdisc("htb", _HTB_HANDLE, default=0x10), module("sch_htb", "NET_SCH_HTB")),
        ("netem", lambda: _qdisc("netem", delay=1000), module("sch_netem", "NET_SCH_NETEM")),
    ]
    return [
        *(Trial(name, "network", run, remedy, required=True) for name, run, remedy in required),
        *(Trial(name, "network", run, remedy, required=False) for name, run, remedy in optional),
    ]


def module(name: str, option: str) -> str:
    """Return the remedy for a part of the kernel that may be a module."""
    return f"modprobe {name}; where there is no such module, boot a kernel that has CONFIG_{option}"


def pair(channel: socket.socket) -> tuple[int, int]:
    """Make a veth pair `a` and `b`, both up, in the calling thread's namespace; return their indexes."""
    with namespaces.own_folder() as own:
        both_here = namespaces.current(Clone.NET, own)
    request = rtnetlink.veth(
        port="a",
        bridge_index=0,
        peer="b",
        peer_namespace=both_here,
        mac="02:00:00:00:00:01",
        mtu=_MTU,
        port_mtu=_MTU,
    )
    rtnetlink.transact(channel, [request])
    first, second = (socket.if_nametoindex(name) for name in ("a", "b"))
    rtnetlink.transact(channel, [rtnetlink.up(second, "b")])
    return first, second


def _veth() -> str:
    arena.enter(Clone.NET)
    with rtnetlink.open_socket() as channel:
        pair(channel)
    return "a pair is made"


def _bridge() -> str:
    arena.enter(Clone.NET)
    with rtnetlink.open_socket() as channel:
        rtnetlink.transact(channel, [rtnetlink.bridge("switch", _MTU)])
    return "a switch is made"


def _route() -> str:
    arena.enter(Clone.NET)
    with rtnetlink.open_socket() as channel:
        _first, second = pair(channel)
        rtnetlink.transact(
            channel,
            [
                rtnetlink.address(second, "192.0.2.1/24"),
                rtnetlink.route(second, "198.51.100.0/24", "192.0.2.2"),
            ],
        )
    return f"198.51.100.1 is reached from {_source(socket.AF_INET, '198.51.100.1')}"


def _ipv6() -> str:
    return arena.in_home(_address_ipv6)


def _address_ipv6() -> str:
    sysctl.write("net.ipv6.conf.all.disable_ipv6", "0")
    with rtnetlink.open_socket() as channel:
        _first, second = pair(channel)
        requests = [
            rtnetlink.address(second, "2001:db8::1/64"),
            rtnetlink.route(second, "2001:db8:1::/64", "2001:db8::2"),
        ]
        rtnetlink.transact(channel, requests)
    return f"2001:db8:1::1 is reached from {_source(socket.AF_INET6, '2001:db8:1::1')}"


def _source(family: socket.AddressFamily, to: str) -> str:
    """Return the address that the kernel would send from; connecting a datagram socket sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.connect((to, 9))
        return str(probe.getsockname()[0])


def _offloads() -> str:
    arena.enter(Clone.NET)
    with rtnetlink.open_socket() as channel:
        pair(channel)
    offload.apply("b", offload.offloads_off("b"))
    with contextlib.closing(IoctlEthtool("b")) as ethtool:
        features = ethtool.get_features()
    left = [name for name in ("tx-scatter-gather", "tx-tcp-segmentation", "rx-gro") if features[name]]
    if left:
        raise Refusal(f"{', '.join(left)} stayed on", "")
    return "frames are as long as on a wire"


def _capture() -> str:
    arena.enter(Clone.NET)
    with (
        rtnetlink.open_socket() as channel,
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        rtnetlink.transact(channel, [rtnetlink.up(rtnetlink.LOOPBACK_INDEX, "lo")])
        listener.bind(("lo", _EVERY_PROTOCOL))
        listener.settimeout(1.0)
        sender.sendto(b"trial", ("127.0.0.1", 9))
        frame = listener.recv(_MTU)
    return f"a frame of {len(frame)} bytes was seen"


def _tap() -> str:
    arena.enter(Clone.NET)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"tap0", _TAP | _NO_INFORMATION))
    return f"{', '.join(name for _, name in socket.if_nameindex() if name == 'tap0')} is made"


def _vlan() -> str:
    arena.enter(Clone.NET)
    with rtnetlink.open_socket() as channel:
        first, _second = pair(channel)
    return _request("vlan", lambda route: route.link("add", ifname="x", kind="vlan", link=first, vlan_id=5))


def _link(kind: str, **fields: int) -> str:
    arena.enter(Clone.NET)
    return _request(kind, lambda route: route.link("add", ifname="x", kind=kind, **fields))


def _qdisc(kind: str, handle: int = 0, **fields: int) -> str:
    arena.enter(Clone.NET)
    with rtnetlink.open_socket() as channel:
        first, _second = pair(channel)
    return _request(kind, lambda route: route.tc("add", kind, first, handle, **fields))


def _request(kind: str, make: Callable[[Any], Any]) -> str:
    with IPRoute() as route:
        try:
            make(route)
        except NetlinkError as error:
            unknown = error.code in (errno.ENOENT, errno.EOPNOTSUPP)
            words = "this kernel does not know it" if unknown else os.strerror(error.code)
            raise OSError(error.code, f"{kind}: {words}") from error
    return "one is made"
