"""What a loss of power does to the network of a machine: for the calling thread's network namespace."""

from __future__ import annotations

import socket

from lab.netlink import aborting, rtnetlink


def take_down() -> None:
    """Take all interfaces down, without their addresses and routes, and forget all TCP connections.

    Neighbours see nothing of it: what the kernel would still send finds no way out.

    Raises:
        NotSupportedError: this kernel cannot forget connections; nothing has been done.
    """
    aborting.check_abort()
    with rtnetlink.open_socket() as channel:
        interfaces = [(index, name) for index, name in socket.if_nameindex() if index != rtnetlink.LOOPBACK_INDEX]
        rtnetlink.transact(channel, [rtnetlink.down(index, name) for index, name in interfaces])
        # The last first: with an interface's first address of a subnet its others go too.
        rtnetlink.transact(channel, rtnetlink.address_removals(channel)[::-1])
    aborting.abort_connections()
