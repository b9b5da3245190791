"""Switches an interface's offloads off, so that a capture shows the frames that a real wire would carry.

The requests are those of <linux/ethtool.h>; features are known by name, their places differ from kernel to kernel.
"""

from __future__ import annotations

import array
import errno
import fcntl
import os
import socket
import struct

# With these on, veth passes frames of up to 64 KiB with checksums that nobody has computed yet.
_UNREAL = (
    "rx-gro",
    "tx-checksum-ip-generic",
    "tx-checksum-sctp",
    "tx-generic-segmentation",
    "tx-scatter-gather",
    "tx-scatter-gather-fraglist",
    "tx-tcp-ecn-segmentation",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp-segmentation",
)

_SIOCETHTOOL = 0x8946
_GET_NAMES, _COUNT_NAMES, _GET, _SET = 0x1B, 0x37, 0x3A, 0x3B  # ETHTOOL_GSTRINGS, GSSET_INFO, GFEATURES, SFEATURES
_FEATURES = 4  # ETH_SS_FEATURES
_NAME_SIZE = 32  # ETH_GSTRING_LEN
_BLOCK = 32  # features of which one word tells
_ETHTOOL = struct.Struct("=II")  # command, and the number of blocks that follow
_AVAILABLE = struct.Struct("=I12x")  # struct ethtool_get_features_block
_CHANGE = struct.Struct("=II")  # struct ethtool_set_features_block: which features, and how they shall be
_COUNT = struct.Struct("=IIQI")  # struct ethtool_sset_info with one set
_NAMES = struct.Struct("=III")  # struct ethtool_gstrings: command, set, number of names
_INTERFACE = struct.Struct("16sP16x")  # struct ifreq


def offloads_off(interface: str) -> bytes:
    """Return the request that switches the offloads of `interface` off, for `apply`.

    The request fits every interface of the same driver, so it is made once for a whole lab.

    Raises:
        OSError: there is no such interface.
    """
    names = _names(interface)
    blocks = -(-len(names) // _BLOCK)
    answer = _ask(interface, _ETHTOOL.pack(_GET, blocks) + bytes(blocks * _AVAILABLE.size))
    available = [word for (word,) in _AVAILABLE.iter_unpack(answer[_ETHTOOL.size :])]
    chosen = [0] * blocks
    for place, name in enumerate(names):
        if name in _UNREAL:
            chosen[place // _BLOCK] |= (1 << place % _BLOCK) & available[place // _BLOCK]
    return _ETHTOOL.pack(_SET, blocks) + b"".join(_CHANGE.pack(word, 0) for word in chosen)


def apply(interface: str, request: bytes) -> None:
    """Carry out a request of `offloads_off` on `interface`, in the calling thread's network namespace.

    Raises:
        OSError: the kernel refuses.
    """
    _ask(interface, request)


def _names(interface: str) -> list[str]:
    answer = _ask(interface, _COUNT.pack(_COUNT_NAMES, 0, 1 << _FEATURES, 0))
    *_head, count = _COUNT.unpack(answer)
    answer = _ask(interface, _NAMES.pack(_GET_NAMES, _FEATURES, count) + bytes(count * _NAME_SIZE))
    starts = range(_NAMES.size, len(answer), _NAME_SIZE)
    return [answer[start : start + _NAME_SIZE].rstrip(b"\0").decode() for start in starts]


def _ask(interface: str, request: bytes) -> bytes:
    """Return the request as the kernel has filled it in."""
    data = array.array("B", request)
    place, _size = data.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        result = fcntl.ioctl(channel, _SIOCETHTOOL, bytearray(_INTERFACE.pack(interface.encode(), place)))
    if result:  # only of _SET: some of it has not been done (enum ethtool_sfeatures_retval_bits)
        raise OSError(errno.EOPNOTSUPP, f"offloads of {interface}: {os.strerror(errno.EOPNOTSUPP)}")
    return data.tobytes()
