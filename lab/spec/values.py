"""The texts a topology is made of: names, addresses, prefixes, MAC addresses, settings.

Each parser takes what the file holds and returns the value, or raises the error that `refused` makes:
its text says what was found, what is allowed and, where it can, what to write instead.
"""

from __future__ import annotations

import ipaddress
import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from pydantic_core import PydanticCustomError

from lab.spec.quoting import show

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NO_GATEWAY = "none"
REFUSED = "refused"

# Words with a meaning of their own, in this file, in YAML or in every hosts file.
_RESERVED = frozenset({"localhost", "ip6-localhost", "ip6-loopback", NO_GATEWAY, "null", "true", "false"})

LAB_NAME = r"[a-z][a-z0-9-]{0,31}"
NAME = r"[a-z][a-z0-9_-]{0,31}"
MAC = r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}"
NEED = rf"{NAME}(/{NAME})?"
TARGET = rf"{NAME}(:[a-z][a-z0-9]{{0,14}})?"
SYSCTL_KEY = r"net(\.[A-Za-z0-9_-]+)+"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_LABEL = r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
IMAGE_NAME = r"[a-zA-Z0-9][a-zA-Z0-9._/:@-]*"
HOST_NAME = rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*"

_UNUSABLE_SUBNETS: tuple[tuple[Network, str], ...] = (
    (IPv4Network("0.0.0.0/8"), "this host"),
    (IPv4Network("127.0.0.0/8"), "loopback"),
    (IPv4Network("224.0.0.0/3"), "multicast and reserved"),
    (IPv6Network("::/127"), "unspecified and loopback"),
    (IPv6Network("fe80::/10"), "link-local"),
    (IPv6Network("ff00::/8"), "multicast"),
)


def refused(text: str) -> PydanticCustomError:
    """Return the error that says `text` of a value."""
    return PydanticCustomError(REFUSED, "{text}", {"text": text})


def lab_name(value: object) -> str:
    """Parse a lab's name."""
    if isinstance(value, str) and re.fullmatch(LAB_NAME, value):
        return value
    raise refused(f"found {show(value)}; a lab's name is a small letter, then up to 31 small letters, digits and -")


def name(value: object) -> str:
    """Parse the name of a node or network."""
    if not isinstance(value, str) or not re.fullmatch(NAME, value):
        raise refused(f"found {show(value)}; a name is a small letter, then up to 31 small letters, digits, - and _")
    if value in _RESERVED:
        raise refused(f'"{value}" has a meaning of its own; choose another name')
    return value


def address(value: object) -> Address:
    """Parse an IPv4 or IPv6 address without prefix length."""
    found = _address_or_none(value)
    if found is None:
        raise refused(f"found {show(value)}; an address is written like 10.0.1.10 or fd00:1::10{_no_prefix(value)}")
    return found


def name_or_address(value: object) -> Address | str:
    """Parse a node's name or an address."""
    found = _address_or_none(value)
    if found is not None:
        return found
    if isinstance(value, str) and re.fullmatch(NAME, value):
        return value
    raise refused(f"found {show(value)}; allowed is a node's name or an address{_no_prefix(value)}")


def subnet(value: object) -> Network:
    """Parse the subnet of a network, host bits zero."""
    found = _prefix(value)
    if found is None:
        raise refused(f"found {show(value)}; a subnet is an address and a prefix length, like 10.0.1.0/24")
    for unusable, use in _UNUSABLE_SUBNETS:
        if unusable.version == found.version and found.overlaps(unusable):
            raise refused(f"{found} touches {unusable} ({use}); take one like 10.0.1.0/24 or fd00:1::/64")
    return found


def destination(value: object) -> Network | str:
    """Parse what a route leads to: a prefix or a network's name."""
    found = _prefix(value)
    if found is not None:
        return found
    if isinstance(value, str) and re.fullmatch(NAME, value):
        return value
    raise refused(f"found {show(value)}; a route leads to a prefix like 10.9.0.0/24, or to a network by its name")


def mac(value: object) -> str:
    """Parse a MAC address of one station; returned in small letters."""
    if not isinstance(value, str) or not re.fullmatch(MAC, value):
        raise refused(f"found {show(value)}; a MAC address is written like 02:00:00:00:00:01")
    if int(value[:2], 16) & 1:
        raise refused(f"{value} is a multicast MAC address; an interface's first byte is even, like 02")
    if value == "00:00:00:00:00:00":
        raise refused(f"{value} is no address of a station; write one like 02:00:00:00:00:01")
    return value.lower()


def sysctl_key(value: object) -> str:
    """Parse the dotted name of a network sysctl."""
    if isinstance(value, str) and re.fullmatch(SYSCTL_KEY, value):
        return value
    raise refused(f"found {show(value)}; a sysctl here is net. and dotted words, like net.ipv4.ip_forward")


def sysctl_value(value: object) -> str:
    """Parse a sysctl's value into the text that is written to the kernel; true is 1."""
    if isinstance(value, bool | int):
        return str(int(value))
    if isinstance(value, str):
        if all(c.isprintable() or c == "\t" for c in value):
            return value
        raise refused(f"found {show(value)}; a sysctl's value is one line of text")
    raise refused(f"found {show(value)}; a sysctl's value is a whole number, true, false or text{_quotes(value)}")


def variable(value: object) -> str:
    """Parse the name of an environment variable."""
    if isinstance(value, str) and re.fullmatch(VARIABLE, value):
        return value
    raise refused(f"found {show(value)}; a variable's name is letters, digits and _, and begins with no digit")


def variable_value(value: object) -> str:
    """Parse the value of an environment variable."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise refused(f"found {show(value)}; a variable's value is text or a whole number{_quotes(value)}")
    if "\0" in value:
        raise refused(f"found {show(value)}; a variable's value cannot hold a zero byte")
    return value


def image_name(value: object) -> str:
    """Parse the name of a container image, as `docker pull` takes it."""
    if not isinstance(value, str) or not re.fullmatch(IMAGE_NAME, value):
        raise refused(f"found {show(value)}; a container image is named like squid, ubuntu/squid:latest or @sha256:...")
    return value


def host_name(value: object) -> str:
    """Parse an extra name for the hosts files."""
    if not isinstance(value, str) or not re.fullmatch(HOST_NAME, value):
        raise refused(f"found {show(value)}; a host's name is dotted words of letters, digits, - and _")
    if value.lower() in _RESERVED or value.rpartition(".")[2].isdigit():
        raise refused(f"{show(value)} is no name for a host; choose another one")
    return value


def need(value: object) -> str:
    """Parse what a service needs: a node, or one service of a node."""
    if isinstance(value, str) and re.fullmatch(NEED, value):
        return value
    raise refused(f"found {show(value)}; allowed is a node, or one service of a node, like dns/dnsmasq")


def target(value: object) -> str:
    """Parse what a fault is done to: nodes, interfaces of nodes, or a network; several are parted by commas."""
    if isinstance(value, str) and re.fullmatch(rf"{TARGET}(,{TARGET})*", value):
        return value
    raise refused(f"found {show(value)}; allowed is a node, a network, an interface like client:eth0, or a,b for both")


def _address_or_none(value: object) -> Address | None:
    if isinstance(value, IPv4Address | IPv6Address):
        return value
    if not isinstance(value, str) or "%" in value:
        return None
    try:
        found = ipaddress.ip_address(value)
    except ValueError:
        return None
    if found.is_multicast or found.is_unspecified or str(found) == "255.255.255.255":
        raise refused(f"{found} is not the address of one host; write one like 10.0.1.10 or fd00:1::10")
    return found


def _prefix(value: object) -> Network | None:
    if isinstance(value, IPv4Network | IPv6Network):
        return value
    # ipaddress would take a netmask or nothing at all for the length, and a zone.
    if not isinstance(value, str) or not re.fullmatch(r"[0-9a-fA-F:.]+/[0-9]{1,3}", value):
        return None
    try:
        found = ipaddress.ip_interface(value)
    except ValueError:
        return None
    if found.ip != found.network.network_address:
        raise refused(f"{value} has host bits set; the network is {found.network}")
    return found.network


def _no_prefix(value: object) -> str:
    """Return the hint for an address written with the prefix length of its network."""
    if isinstance(value, str) and "/" in value:
        bare = value.partition("/")[0]
        if _address_or_none(bare) is not None:
            return f"; write {bare}, its network has the prefix length"
    return ""


def _quotes(value: object) -> str:
    return "; put it in quotes" if isinstance(value, bool | float) else ""
