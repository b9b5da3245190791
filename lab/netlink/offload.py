"""Switches an interface's offloads off, so that a capture shows the frames that a real wire would carry."""

from __future__ import annotations

from typing import Any

from pyroute2.ethtool.ioctl import IoctlEthtool

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


def offloads_off(interface: str) -> Any:
    """Return the request that switches the offloads of `interface` off, for `apply`.

    The request fits every interface of the same driver, so it is made once for a whole lab.
    """
    ethtool = IoctlEthtool(interface)
    try:
        features = ethtool.get_features()
    finally:
        ethtool.close()
    for name in _UNREAL:
        if name in features and features.is_available(name):
            features[name] = False
    return features


def apply(interface: str, request: Any) -> None:
    """Carry out a request of `offloads_off` on `interface`, in the calling thread's network namespace."""
    ethtool = IoctlEthtool(interface)
    try:
        ethtool.set_features(request)
    finally:
        ethtool.close()
