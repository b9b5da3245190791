"""The sysctls that every node starts from, whatever its host has: kernel defaults, written down.

A new network namespace takes some of its settings from its host (forwarding, redirects, buffers, congestion
control) and the rest from the kernel's build, so every one that an experiment can notice is pinned here. The
values are those of Documentation/networking/ip-sysctl.rst, but for the few lines that say why they differ.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

from lab.errors import BackendError
from lab.netlink import sysctl
from lab.plan.model import Kind

CONGESTION_CONTROL_KEY = "net.ipv4.tcp_congestion_control"
CONGESTION_CONTROL = "cubic"

SWITCHES = (("net.ipv6.conf.default.disable_ipv6", "1"), ("net.ipv4.ip_forward", "0"))
"""(key, value) of the namespace of a lab's switches."""

# Writing ip_forward resets the redirect settings of every interface, so it comes first.
_IPV4 = """
net.ipv4.ip_forward {router}
net.ipv4.conf.*.forwarding {router}
net.ipv4.conf.*.accept_redirects {host}
net.ipv4.conf.*.secure_redirects 1
net.ipv4.conf.*.send_redirects 1
net.ipv4.conf.*.shared_media 1
net.ipv4.conf.*.accept_source_route 0
net.ipv4.conf.*.rp_filter 0
net.ipv4.conf.*.log_martians 0
net.ipv4.conf.*.proxy_arp 0
net.ipv4.conf.*.arp_accept 0
net.ipv4.conf.*.arp_announce 0
net.ipv4.conf.*.arp_filter 0
net.ipv4.conf.*.arp_ignore 0
net.ipv4.conf.*.arp_notify 0
net.ipv4.conf.*.route_localnet 0
net.ipv4.conf.*.accept_local 0
net.ipv4.conf.*.arp_evict_nocarrier 1
net.ipv4.conf.*.bc_forwarding 0
net.ipv4.conf.*.bootp_relay 0
net.ipv4.conf.*.disable_policy 0
net.ipv4.conf.*.disable_xfrm 0
net.ipv4.conf.*.drop_gratuitous_arp 0
net.ipv4.conf.*.drop_unicast_in_l2_multicast 0
net.ipv4.conf.*.force_igmp_version 0
net.ipv4.conf.*.igmpv2_unsolicited_report_interval 10000
net.ipv4.conf.*.igmpv3_unsolicited_report_interval 1000
net.ipv4.conf.*.ignore_routes_with_linkdown 0
net.ipv4.conf.*.medium_id 0
net.ipv4.conf.*.promote_secondaries 0
net.ipv4.conf.*.proxy_arp_pvlan 0
net.ipv4.conf.*.src_valid_mark 0
net.ipv4.conf.*.tag 0
net.ipv4.icmp_echo_ignore_all 0
net.ipv4.icmp_echo_ignore_broadcasts 1
net.ipv4.icmp_errors_use_inbound_ifaddr 0
net.ipv4.icmp_ignore_bogus_error_responses 1
net.ipv4.icmp_msgs_burst 50
net.ipv4.icmp_msgs_per_sec 1000
net.ipv4.icmp_ratelimit 1000
net.ipv4.icmp_ratemask 6168
net.ipv4.ip_default_ttl 64
net.ipv4.ip_forward_use_pmtu 0
net.ipv4.ip_local_port_range 32768 60999
net.ipv4.ip_no_pmtu_disc 0
net.ipv4.ip_nonlocal_bind 0
net.ipv4.ip_unprivileged_port_start 1024
net.ipv4.min_adv_mss 48
net.ipv4.tcp_abort_on_overflow 0
net.ipv4.tcp_adv_win_scale 1
net.ipv4.tcp_autocorking 1
net.ipv4.tcp_base_mss 1024
net.ipv4.tcp_dsack 1
net.ipv4.tcp_early_retrans 3
net.ipv4.tcp_ecn 2
net.ipv4.tcp_ecn_fallback 1
net.ipv4.tcp_fastopen 1
net.ipv4.tcp_fin_timeout 60
net.ipv4.tcp_frto 2
net.ipv4.tcp_keepalive_intvl 75
net.ipv4.tcp_keepalive_probes 9
net.ipv4.tcp_keepalive_time 7200
net.ipv4.tcp_l3mdev_accept 0
net.ipv4.tcp_max_reordering 300
net.ipv4.tcp_max_syn_backlog 1024
net.ipv4.tcp_max_tw_buckets 65536
net.ipv4.tcp_min_tso_segs 2
net.ipv4.tcp_moderate_rcvbuf 1
net.ipv4.tcp_mtu_probing 0
net.ipv4.tcp_no_metrics_save 0
net.ipv4.tcp_no_ssthresh_metrics_save 1
net.ipv4.tcp_notsent_lowat 4294967295
net.ipv4.tcp_orphan_retries 0
net.ipv4.tcp_recovery 1
net.ipv4.tcp_reordering 3
net.ipv4.tcp_retries1 3
net.ipv4.tcp_retries2 15
net.ipv4.tcp_rfc1337 0
net.ipv4.tcp_rmem 4096 131072 6291456
net.ipv4.tcp_sack 1
net.ipv4.tcp_slow_start_after_idle 1
net.ipv4.tcp_stdurg 0
net.ipv4.tcp_syn_linear_timeouts 4
net.ipv4.tcp_syn_retries 6
net.ipv4.tcp_synack_retries 5
net.ipv4.tcp_syncookies 1
net.ipv4.tcp_thin_linear_timeouts 0
net.ipv4.tcp_timestamps 1
net.ipv4.tcp_tw_reuse 2
net.ipv4.tcp_window_scaling 1
net.ipv4.tcp_wmem 4096 16384 4194304
net.core.somaxconn 4096
"""

# A lab announces its routers by plan, and nobody in it clashes: no advertisements, no duplicate address detection.
_IPV6 = """
net.ipv6.conf.*.disable_ipv6 0
net.ipv6.conf.*.forwarding {router}
net.ipv6.conf.*.accept_ra 0
net.ipv6.conf.*.autoconf 0
net.ipv6.conf.*.router_solicitations 0
net.ipv6.conf.*.accept_dad 0
net.ipv6.conf.*.dad_transmits 0
net.ipv6.conf.*.accept_redirects {host}
net.ipv6.conf.*.accept_source_route 0
net.ipv6.conf.*.hop_limit 64
net.ipv6.conf.*.use_tempaddr 0
net.ipv6.conf.*.addr_gen_mode 0
net.ipv6.conf.*.accept_ra_defrtr 1
net.ipv6.conf.*.accept_ra_from_local 0
net.ipv6.conf.*.accept_ra_min_hop_limit 1
net.ipv6.conf.*.accept_ra_min_lft 0
net.ipv6.conf.*.accept_ra_mtu 1
net.ipv6.conf.*.accept_ra_pinfo 1
net.ipv6.conf.*.accept_ra_rt_info_max_plen 0
net.ipv6.conf.*.accept_ra_rt_info_min_plen 0
net.ipv6.conf.*.accept_ra_rtr_pref 1
net.ipv6.conf.*.accept_untracked_na 0
net.ipv6.conf.*.disable_policy 0
net.ipv6.conf.*.drop_unicast_in_l2_multicast 0
net.ipv6.conf.*.drop_unsolicited_na 0
net.ipv6.conf.*.enhanced_dad 1
net.ipv6.conf.*.force_forwarding 0
net.ipv6.conf.*.force_mld_version 0
net.ipv6.conf.*.force_tllao 0
net.ipv6.conf.*.ignore_routes_with_linkdown 0
net.ipv6.conf.*.ioam6_enabled 0
net.ipv6.conf.*.ioam6_id 65535
net.ipv6.conf.*.ioam6_id_wide 4294967295
net.ipv6.conf.*.keep_addr_on_down 0
net.ipv6.conf.*.max_addresses 16
net.ipv6.conf.*.max_desync_factor 600
net.ipv6.conf.*.mldv1_unsolicited_report_interval 10000
net.ipv6.conf.*.mldv2_unsolicited_report_interval 1000
net.ipv6.conf.*.ndisc_evict_nocarrier 1
net.ipv6.conf.*.ndisc_notify 0
net.ipv6.conf.*.ndisc_tclass 0
net.ipv6.conf.*.optimistic_dad 0
net.ipv6.conf.*.proxy_ndp 0
net.ipv6.conf.*.ra_defrtr_metric 1024
net.ipv6.conf.*.ra_honor_pio_life 0
net.ipv6.conf.*.ra_honor_pio_pflag 0
net.ipv6.conf.*.regen_max_retry 3
net.ipv6.conf.*.regen_min_advance 2
net.ipv6.conf.*.router_probe_interval 60
net.ipv6.conf.*.router_solicitation_delay 1
net.ipv6.conf.*.router_solicitation_interval 4
net.ipv6.conf.*.router_solicitation_max_interval 3600
net.ipv6.conf.*.rpl_seg_enabled 0
net.ipv6.conf.*.seg6_enabled 0
net.ipv6.conf.*.seg6_require_hmac 0
net.ipv6.conf.*.suppress_frag_ndisc 1
net.ipv6.conf.*.temp_prefered_lft 86400
net.ipv6.conf.*.temp_valid_lft 604800
net.ipv6.conf.*.use_oif_addrs_only 0
net.ipv6.conf.*.use_optimistic 0
net.ipv6.bindv6only 0
net.ipv6.flowlabel_consistency 1
net.ipv6.icmp.ratelimit 1000
"""

_NO_IPV6 = """
net.ipv6.conf.*.disable_ipv6 1
"""

# A node's neighbour tables take these from the host's own, per interface.
_INTERFACE = """
net.ipv4.neigh.{interface}.locktime 100
net.ipv6.neigh.{interface}.locktime 0
"""
_NEIGHBOURS = """
net.{family}.neigh.{interface}.anycast_delay 100
net.{family}.neigh.{interface}.app_solicit 0
net.{family}.neigh.{interface}.base_reachable_time_ms 30000
net.{family}.neigh.{interface}.delay_first_probe_time 5
net.{family}.neigh.{interface}.gc_stale_time 60
net.{family}.neigh.{interface}.interval_probe_time_ms 5000
net.{family}.neigh.{interface}.mcast_resolicit 0
net.{family}.neigh.{interface}.mcast_solicit 3
net.{family}.neigh.{interface}.proxy_delay 80
net.{family}.neigh.{interface}.proxy_qlen 64
net.{family}.neigh.{interface}.retrans_time_ms 1000
net.{family}.neigh.{interface}.ucast_solicit 3
net.{family}.neigh.{interface}.unres_qlen_bytes 212992
"""

# The kernel itself decides these for every namespace's loopback interface.
_NOT_FOR_LOOPBACK = ("disable_policy", "disable_xfrm")


def node_settings(kind: Kind, *, ipv6: bool) -> list[tuple[str, str]]:
    """Return (key, value) of a node's namespace, in the order in which they must be written."""
    return _parse(
        _IPV4 + (_IPV6 if ipv6 else _NO_IPV6),
        router=str(int(kind == "router")),
        host=str(int(kind == "host")),
    )


def interface_settings(interface: str) -> list[tuple[str, str]]:
    """Return (key, value) of one interface of a node."""
    families = (_parse(_NEIGHBOURS, interface=interface, family=family) for family in ("ipv4", "ipv6"))
    return [*_parse(_INTERFACE, interface=interface), *itertools.chain(*families)]


def pin(settings: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Give the calling thread's namespace these settings, and return those that it did not have already.

    All new namespaces of one machine start alike, so what had to be written in the first of a kind is what has to
    be written in every other, and most of it never has to. Keys that this kernel lacks are left out. Each is read
    just before it is written, as some set others.

    Raises:
        BackendError: the kernel refuses a value.
    """
    written = []
    for key, value in settings:
        try:
            found = sysctl.read(key)
        except FileNotFoundError:
            continue
        if found != value:
            write(key, value)
            written.append((key, value))
    return written


def write(key: str, value: str) -> None:
    """Set a sysctl of the calling thread's namespace.

    Raises:
        BackendError: the kernel has no such key, or refuses the value.
    """
    try:
        sysctl.write(key, value)
    except OSError as error:
        msg = f"sysctl {key} = {value}: {os.strerror(error.errno or 0)}"
        raise BackendError(msg) from error


def write_all(settings: Iterable[tuple[str, str]]) -> None:
    """Set sysctls of the calling thread's namespace.

    Raises:
        BackendError: as `write`.
    """
    for key, value in settings:
        write(key, value)


def _parse(text: str, **fields: str) -> list[tuple[str, str]]:
    settings: list[tuple[str, str]] = []
    for line in text.format(**fields).splitlines():
        key, _, value = line.partition(" ")
        if not key:
            continue
        settings.extend((key.replace("*", scope), value) for scope in _scopes(key))
    return settings


def _scopes(key: str) -> tuple[str, ...]:
    if "*" not in key:
        return ("",)
    if key.startswith("net.ipv6.") or key.endswith(_NOT_FOR_LOOPBACK):
        return ("all", "default")
    return ("all", "default", "lo")  # which was there before the defaults were written
