"""Addresses with prefix lengths, as the kernel takes them. `ipaddress` checks more, and takes ten times as long."""

from __future__ import annotations

import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prefix:
    """An address and the length of its network's prefix.

    Attributes:
        family: AF_INET or AF_INET6.
        address: packed.
    """

    family: int
    address: bytes
    length: int

    def first(self) -> bytes:
        """Return the network's own address, packed."""
        return self._packed(int.from_bytes(self.address, "big") & ~self._host_part)

    def last(self) -> bytes:
        """Return the last address of the network, packed: IPv4's broadcast address."""
        return self._packed(int.from_bytes(self.address, "big") | self._host_part)

    @property
    def _host_part(self) -> int:
        return (1 << (8 * len(self.address) - self.length)) - 1

    def _packed(self, value: int) -> bytes:
        return value.to_bytes(len(self.address), "big")


def parse(with_length: str) -> Prefix:
    """Return "10.0.1.10/24" or "fd00::5/64" in numbers."""
    plain, _, length = with_length.partition("/")
    return Prefix(*packed(plain), int(length))


def packed(plain: str) -> tuple[int, bytes]:
    """Return (family, packed) of an address."""
    family = socket.AF_INET6 if ":" in plain else socket.AF_INET
    return family, socket.inet_pton(family, plain)
