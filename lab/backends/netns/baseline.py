"""The sysctls that every node starts from, whatever its host has: kernel defaults, written down.

A new network namespace takes some of its settings from its host (forwarding, redirects, buffers, congestion
control) and the rest from the kernel's build, so every one that an experiment can notice is pinned here. The
values are those of Documentation/networking/ip-sysctl.rst, but for the few lines that say why they differ.
"""

from __future__ import annotations

from lab.netlink import sysctl
from lab.plan.model import Kind

CONGESTION_CONTROL_KEY = "net.ipv4.tcp_congestion_control"
CONGESTION_CONTROL = "cubic"

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
net.ipv6.conf.default.addr_gen_mode 0
net.ipv6.conf.all.addr_gen_mode 0
net.ipv6.bindv6only 0
net.ipv6.flowlabel_consistency 1
net.ipv6.icmp.ratelimit 1000
"""

_NO_IPV6 = """
net.ipv6.conf.*.disable_ipv6 1
"""

# A node's neighbour table takes these from the host's own table, per interface.
_INTERFACE = """
net.ipv4.neigh.{interface}.base_reachable_time_ms 30000
net.ipv4.neigh.{interface}.delay_first_probe_time 5
net.ipv4.neigh.{interface}.gc_stale_time 60
net.ipv4.neigh.{interface}.locktime 100
net.ipv4.neigh.{interface}.mcast_solicit 3
net.ipv4.neigh.{interface}.retrans_time_ms 1000
net.ipv4.neigh.{interface}.ucast_solicit 3
net.ipv4.neigh.{interface}.unres_qlen_bytes 212992
"""


def node_settings(kind: Kind, *, ipv6: bool) -> list[tuple[str, str]]:
    """Return (key, value) of a node's namespace, in the order in which they must be written."""
    return _parse(
        _IPV4 + (_IPV6 if ipv6 else _NO_IPV6),
        router=str(int(kind == "router")),
        host=str(int(kind == "host")),
    )


def interface_settings(interface: str) -> list[tuple[str, str]]:
    """Return (key, value) of one interface of a node."""
    return _parse(_INTERFACE, interface=interface)


def differing(settings: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return those settings that the calling thread's namespace does not have already.

    All new namespaces of one machine start alike, so what differs in the first of a kind is what has to be
    written in every other, and most of it never has to. Keys that this kernel lacks are left out.
    """
    missing = []
    for key, value in settings:
        try:
            found = sysctl.read(key)
        except FileNotFoundError:
            continue
        if found != value:
            missing.append((key, value))
    return missing


def _parse(text: str, **fields: str) -> list[tuple[str, str]]:
    settings: list[tuple[str, str]] = []
    for line in text.format(**fields).splitlines():
        key, _, value = line.partition(" ")
        if not key:
            continue
        scopes = ("all", "default") if "*" in key else ("",)
        settings.extend((key.replace("*", scope), value) for scope in scopes)
    return settings
