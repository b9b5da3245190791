// The least a lab's bring-up must ask of the kernel, with nothing in between: one bridge and N hosts, each a network
// namespace held by a file descriptor, over raw netlink and without libraries. What other programs take is given as a
// ratio to this.
//
//   floor [--full] N    build, print {"up": SECONDS}, wait for the end of stdin, take down, print {"down": SECONDS}
//   floor --settle      wait until the kernel has destroyed the namespaces let go of so far, print {"settled": SECONDS}
//
// --full adds what a lab's hosts have beyond the wire: UTS, IPC and mount namespaces with their own names, files,
// /tmp, /run and /sys, a baseline of sysctls, and offloads off.
//
// All happens in a child in namespaces of its own: when it ends, by itself or by SIGKILL, all is gone. The clock runs
// in the parent and counts the making of the child (up) and the wait for its end (down). The kernel destroys network
// namespaces behind the program's back, after `down`; --settle is the barrier that keeps it out of the next
// measurement.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
  kMostHosts = 1023,       // a Linux bridge has 1024 port numbers, and zero is not one
  kBatchBytes = 64 * 1024, // below the default send buffer
  kMessageBytes = 512,     // more than any one message here
  kBridgeIndex = 1000,     // interface numbers can be chosen, which saves asking for them
  kEth0Index = 2,
  kLoIndex = 1,
};

static const char kGateway[] = "10.0.255.254";
static const char kScratch[] = "/tmp";  // where the lab's own tmpfs goes, in the child's mount namespace

__attribute__((format(printf, 1, 2))) _Noreturn static void die(const char *format, ...) {
  const int error = errno;
  va_list arguments;
  va_start(arguments, format);
  fputs("floor: ", stderr);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, ": %s\n", strerror(error));
  va_end(arguments);
  exit(1);
}

/// Return `result` of a system call, or end the program with a line that names the call.
static int check(const char *call, int result) {
  if (result < 0) die("%s", call);
  return result;
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void write_file(const char *path, const char *text) {
  const int fd = check(path, open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  check(path, (int)write(fd, text, strlen(text)));
  close(fd);
}

static int open_namespace(const char *kind) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/ns/%s", kind);
  return check(path, open(path, O_RDONLY | O_CLOEXEC));
}

// --- Netlink: messages are gathered in a batch and sent in one call; only the last asks for an acknowledgement, the
// --- kernel reports any failure unasked.

typedef struct {
  int socket;
  unsigned sequence;
  size_t length;
  struct nlmsghdr *message;
  _Alignas(NLMSG_ALIGNTO) char bytes[kBatchBytes];
} Batch;

static int open_netlink(unsigned groups) {
  const int fd = check("socket", socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  const struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = groups};
  if (groups) check("bind", bind(fd, (const struct sockaddr *)&address, sizeof address));
  return fd;
}

/// Take `size` zeroed bytes at the end of the message.
static void *extend(Batch *batch, size_t size) {
  void *here = batch->bytes + batch->length;
  memset(here, 0, NLMSG_ALIGN(size));
  batch->length += NLMSG_ALIGN(size);
  batch->message->nlmsg_len = (unsigned)(batch->bytes + batch->length - (char *)batch->message);
  return here;
}

static void *begin(Batch *batch, unsigned short type, unsigned short flags, size_t size) {
  batch->message = (struct nlmsghdr *)(batch->bytes + batch->length);
  struct nlmsghdr *header = extend(batch, NLMSG_HDRLEN);
  header->nlmsg_type = type;
  header->nlmsg_flags = NLM_F_REQUEST | flags;
  header->nlmsg_seq = ++batch->sequence;
  return extend(batch, size);
}

static struct rtattr *attribute(Batch *batch, unsigned short type, const void *data, size_t size) {
  struct rtattr *header = extend(batch, RTA_LENGTH(size));
  header->rta_type = type;
  header->rta_len = (unsigned short)RTA_LENGTH(size);
  if (size) memcpy(RTA_DATA(header), data, size);
  return header;
}

static void attribute_text(Batch *batch, unsigned short type, const char *text) {
  attribute(batch, type, text, strlen(text) + 1);
}

/// Close a nested attribute over all that came after it.
static void end(Batch *batch, struct rtattr *nest) {
  nest->rta_len = (unsigned short)(batch->bytes + batch->length - (char *)nest);
}

static void await_acknowledgement(const Batch *batch) {
  _Alignas(NLMSG_ALIGNTO) char answer[8192];
  for (;;) {
    const ssize_t received = recv(batch->socket, answer, sizeof answer, 0);
    if (received < 0) die("netlink recv");
    size_t left = (size_t)received;
    for (const struct nlmsghdr *header = (void *)answer; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR) continue;
      errno = -((const struct nlmsgerr *)NLMSG_DATA(header))->error;
      if (errno) die("netlink message %u", header->nlmsg_seq);
      if (header->nlmsg_seq == batch->sequence) return;
    }
  }
}

static void flush(Batch *batch) {
  if (batch->length == 0) return;
  batch->message->nlmsg_flags |= NLM_F_ACK;
  check("netlink send", (int)send(batch->socket, batch->bytes, batch->length, 0));
  await_acknowledgement(batch);
  batch->length = 0;
}

// --- What a lab consists of

static struct ifinfomsg link_that_is_up(int index) {
  return (struct ifinfomsg){.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
}

/// Make the bridge, down: it comes up when all ports are in, as an open bridge looks through all its ports at each
/// change of one. It does so once more for multicast snooping, which a lab has no use for.
static void add_bridge(Batch *batch) {
  struct ifinfomsg *link = begin(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *link);
  link->ifi_index = kBridgeIndex;
  attribute_text(batch, IFLA_IFNAME, "br0");
  struct rtattr *info = attribute(batch, IFLA_LINKINFO, NULL, 0);
  attribute_text(batch, IFLA_INFO_KIND, "bridge");
  struct rtattr *data = attribute(batch, IFLA_INFO_DATA, NULL, 0);
  const unsigned char off = 0;
  attribute(batch, IFLA_BR_MCAST_SNOOPING, &off, sizeof off);
  end(batch, data);
  end(batch, info);
}

/// Make both ends of a host's cable at once: the port here, up and in the bridge; eth0 in the host, still down (the
/// kernel refuses to bring an end up that has no other end yet, and it makes the far one first).
static void add_veth(Batch *batch, const char *port, int host_namespace, bool in_bridge) {
  struct ifinfomsg *link = begin(batch, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *link);
  *link = link_that_is_up(0);
  attribute_text(batch, IFLA_IFNAME, port);
  const int master = kBridgeIndex;
  if (in_bridge) attribute(batch, IFLA_MASTER, &master, sizeof master);
  struct rtattr *info = attribute(batch, IFLA_LINKINFO, NULL, 0);
  attribute_text(batch, IFLA_INFO_KIND, "veth");
  struct rtattr *data = attribute(batch, IFLA_INFO_DATA, NULL, 0);
  struct rtattr *peer = attribute(batch, VETH_INFO_PEER, NULL, 0);
  struct ifinfomsg *peer_link = extend(batch, sizeof *peer_link);
  *peer_link = (struct ifinfomsg){.ifi_index = kEth0Index};
  attribute_text(batch, IFLA_IFNAME, "eth0");
  attribute(batch, IFLA_NET_NS_FD, &host_namespace, sizeof host_namespace);
  end(batch, peer);
  end(batch, data);
  end(batch, info);
}

static void set_up(Batch *batch, int index) {
  struct ifinfomsg *link = begin(batch, RTM_NEWLINK, 0, sizeof *link);
  *link = link_that_is_up(index);
}

static void add_address(Batch *batch, struct in_addr address) {
  struct ifaddrmsg *entry = begin(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *entry);
  *entry = (struct ifaddrmsg){.ifa_family = AF_INET, .ifa_prefixlen = 16, .ifa_index = kEth0Index};
  attribute(batch, IFA_LOCAL, &address, sizeof address);
  attribute(batch, IFA_ADDRESS, &address, sizeof address);
}

static void add_default_route(Batch *batch) {
  struct rtmsg *route = begin(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *route);
  *route = (struct rtmsg){.rtm_family = AF_INET,
                          .rtm_table = RT_TABLE_MAIN,
                          .rtm_protocol = RTPROT_STATIC,
                          .rtm_scope = RT_SCOPE_UNIVERSE,
                          .rtm_type = RTN_UNICAST};
  struct in_addr gateway;
  inet_pton(AF_INET, kGateway, &gateway);
  attribute(batch, RTA_GATEWAY, &gateway, sizeof gateway);
}

/// Host numbers start at 1: 10.0.0.1, 10.0.0.2, ...
static struct in_addr address_of(int number) { return (struct in_addr){htonl(0x0a000000U + (unsigned)number)}; }

/// Keep eth0 from speaking IPv6 by itself: every new port would announce itself to every other, N * N packets. (A
/// sysctl would do as well, but see make_view for what those cost.)
static void add_no_ipv6_address(Batch *batch) {
  struct ifinfomsg *link = begin(batch, RTM_NEWLINK, 0, sizeof *link);
  link->ifi_index = kEth0Index;
  struct rtattr *families = attribute(batch, IFLA_AF_SPEC, NULL, 0);
  struct rtattr *ipv6 = attribute(batch, AF_INET6, NULL, 0);
  const unsigned char mode = IN6_ADDR_GEN_MODE_NONE;
  attribute(batch, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof mode);
  end(batch, ipv6);
  end(batch, families);
}

/// The part of a host that needs its network namespace: `netlink` was opened in it.
static void configure_network(Batch *batch, int netlink, int number) {
  batch->socket = netlink;
  set_up(batch, kLoIndex);
  add_no_ipv6_address(batch);
  set_up(batch, kEth0Index);
  add_address(batch, address_of(number));
  add_default_route(batch);
  flush(batch);
}

// --- --full: what a host has beyond the wire

static void bind_mount(const char *from, const char *to) { check(to, mount(from, to, NULL, MS_BIND, NULL)); }

static void mount_tmpfs(const char *path, const char *options) {
  check(path, mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options));
}

/// Put the lab's files in a tmpfs of its own: one hosts file for all, a name and a resolver for each.
static void write_lab_files(int hosts) {
  mount_tmpfs(kScratch, "mode=0755");
  FILE *file = fopen("/tmp/hosts", "we");
  if (!file) die("/tmp/hosts");
  fputs("127.0.0.1\tlocalhost\n", file);
  for (int number = 1; number <= hosts; ++number) {
    fprintf(file, "%s\th%d\n", inet_ntoa(address_of(number)), number);
  }
  if (fclose(file)) die("/tmp/hosts");
  for (int number = 1; number <= hosts; ++number) {
    char path[64], text[64];
    snprintf(text, sizeof text, "h%d\n", number);
    snprintf(path, sizeof path, "/tmp/hostname.%d", number);
    write_file(path, text);
    snprintf(text, sizeof text, "nameserver %s\n", kGateway);
    snprintf(path, sizeof path, "/tmp/resolv.conf.%d", number);
    write_file(path, text);
  }
}

static void set_sysctls(void) {
  static const char *const baseline[][2] = {
      {"/proc/sys/net/ipv4/ip_forward", "0"},
      {"/proc/sys/net/ipv4/conf/all/accept_redirects", "1"},
      {"/proc/sys/net/ipv4/conf/all/send_redirects", "1"},
      {"/proc/sys/net/ipv4/conf/all/secure_redirects", "1"},
      {"/proc/sys/net/ipv4/conf/all/rp_filter", "0"},
      {"/proc/sys/net/ipv4/conf/default/accept_redirects", "1"},
      {"/proc/sys/net/ipv4/conf/default/rp_filter", "0"},
      {"/proc/sys/net/ipv4/tcp_rmem", "4096 131072 6291456"},
      {"/proc/sys/net/ipv4/tcp_wmem", "4096 16384 4194304"},
      {"/proc/sys/net/ipv6/conf/all/disable_ipv6", "1"},
  };
  for (size_t i = 0; i < sizeof baseline / sizeof *baseline; ++i) write_file(baseline[i][0], baseline[i][1]);
}

/// Give the calling process the view of host `number`; its network namespace has been entered.
///
/// The sysctls are written through a /proc of the host's own: in a shared one the entries of all namespaces bear the
/// same names in the same directories, and each lookup walks past those of all hosts before it.
static void make_view(int number) {
  check("unshare", unshare(CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC));
  char name[32], path[64];
  snprintf(name, sizeof name, "h%d", number);
  check("sethostname", sethostname(name, strlen(name)));
  bind_mount("/tmp/hosts", "/etc/hosts");
  snprintf(path, sizeof path, "/tmp/hostname.%d", number);
  bind_mount(path, "/etc/hostname");
  snprintf(path, sizeof path, "/tmp/resolv.conf.%d", number);
  bind_mount(path, "/etc/resolv.conf");
  mount_tmpfs("/tmp", "mode=1777");
  mount_tmpfs("/run", "mode=0755");
  check("/sys", mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
  check("/proc", mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
  set_sysctls();
}

static void offloads_off(int socket_in_host) {
  struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM, .data = 0};
  struct ifreq request = {.ifr_name = "eth0", .ifr_data = (void *)&off};
  check("SIOCETHTOOL", ioctl(socket_in_host, SIOCETHTOOL, &request));
}

// --- Up

typedef struct {
  int network, netlink, mounts, names, ipc;  // file descriptors
} Host;

/// Make host `number`'s namespaces; the calling process is left in them.
static Host make_host(int number, bool full) {
  Host host = {.mounts = -1, .names = -1, .ipc = -1};
  check("unshare", unshare(CLONE_NEWNET));
  host.network = open_namespace("net");
  host.netlink = open_netlink(0);
  if (full) {
    make_view(number);
    host.mounts = open_namespace("mnt");
    host.names = open_namespace("uts");
    host.ipc = open_namespace("ipc");
  }
  return host;
}

/// Build it all; the descriptors stay open, and the lab with them, until the process ends.
static void bring_up(int hosts, bool full) {
  static Batch batch;
  static Host host[kMostHosts + 1];
  const int switch_netlink = open_netlink(0);
  const int lab_mounts = open_namespace("mnt");
  write_file("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1");
  if (full) write_lab_files(hosts);
  for (int number = 1; number <= hosts; ++number) {
    host[number] = make_host(number, full);
    if (full) check("setns", setns(lab_mounts, CLONE_NEWNS));  // the next host starts from the lab's view
  }
  batch.socket = switch_netlink;
  add_bridge(&batch);
  for (int number = 1; number <= hosts; ++number) {
    char port[IFNAMSIZ];
    snprintf(port, sizeof port, "p%d", number);
    add_veth(&batch, port, host[number].network, true);
    if (batch.length > kBatchBytes - kMessageBytes) flush(&batch);
  }
  flush(&batch);
  for (int number = 1; number <= hosts; ++number) {
    configure_network(&batch, host[number].netlink, number);
    if (full) offloads_off(host[number].netlink);
    close(host[number].netlink);
  }
  batch.socket = switch_netlink;
  set_up(&batch, kBridgeIndex);
  flush(&batch);
}

// --- The child and its clock

static void allow_many_descriptors(void) {
  struct rlimit limit;
  check("getrlimit", getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  check("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
}

static void become_root(uid_t user, gid_t group) {
  char map[64];
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "0 %u 1", user);
  write_file("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "0 %u 1", group);
  write_file("/proc/self/gid_map", map);
}

/// Fork into new network, mount and PID namespaces, and a user namespace for those who are not root.
static pid_t fork_apart(void) {
  const uid_t user = geteuid();
  const gid_t group = getegid();
  const int flags = CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID | (user ? CLONE_NEWUSER : 0);
  const pid_t child = check("clone", (int)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, NULL));
  if (child) return child;
  check("prctl", prctl(PR_SET_PDEATHSIG, SIGKILL));
  if (user) become_root(user, group);
  check("mount", mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
  return 0;
}

static void await_end_of(int fd) {
  char bytes[256];
  while (check("read", (int)read(fd, bytes, sizeof bytes)) > 0) continue;
}

static void reap(pid_t child) {
  int status;
  check("waitpid", waitpid(child, &status, 0));
  if (status) exit(1);  // the child has said why
}

static void run(int hosts, bool full) {
  int ready[2], stop[2];
  check("pipe", pipe2(ready, O_CLOEXEC));
  check("pipe", pipe2(stop, O_CLOEXEC));
  double start = now();
  const pid_t child = fork_apart();
  if (child == 0) {
    close(ready[0]);
    close(stop[1]);
    bring_up(hosts, full);
    check("write", (int)write(ready[1], "", 1));
    await_end_of(stop[0]);
    _exit(0);
  }
  close(ready[1]);
  close(stop[0]);
  char byte;
  if (check("read", (int)read(ready[0], &byte, 1)) == 0) reap(child);  // it could not, and has said why
  printf("{\"up\": %.6f}\n", now() - start);
  fflush(stdout);
  await_end_of(STDIN_FILENO);
  start = now();
  close(stop[1]);
  reap(child);
  printf("{\"down\": %.6f}\n", now() - start);
}

// --- --settle

static void await_end_of_link(int netlink) {
  _Alignas(NLMSG_ALIGNTO) char event[8192];
  for (;;) {
    const ssize_t received = recv(netlink, event, sizeof event, 0);
    if (received < 0) die("netlink recv");
    size_t left = (size_t)received;
    for (const struct nlmsghdr *header = (void *)event; NLMSG_OK(header, left); header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type == RTM_DELLINK) return;
    }
  }
}

/// Let go of a namespace that is tied to ours by a cable, and see the cable go.
static void send_canary(int home) {
  static Batch batch;
  const int events = open_netlink(RTMGRP_LINK);
  batch.socket = open_netlink(0);
  check("unshare", unshare(CLONE_NEWNET));
  const int cage = open_namespace("net");
  check("setns", setns(home, CLONE_NEWNET));
  add_veth(&batch, "canary", cage, false);
  flush(&batch);
  close(cage);
  await_end_of_link(events);
  close(events);
  close(batch.socket);
}

/// The kernel destroys namespaces in the order in which they are let go of, all that wait at once, one lot after the
/// other: the end of the first canary begins the end of its lot, the end of the second is after it.
static void settle(void) {
  const double start = now();
  const pid_t child = fork_apart();
  if (child == 0) {
    const int home = open_namespace("net");
    send_canary(home);
    send_canary(home);
    _exit(0);
  }
  reap(child);
  printf("{\"settled\": %.6f}\n", now() - start);
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "--settle") == 0) {
    settle();
    return 0;
  }
  const bool full = count == 3 && strcmp(arguments[1], "--full") == 0;
  char *rest = "?";
  const long hosts = count == (full ? 3 : 2) ? strtol(arguments[count - 1], &rest, 10) : 0;
  if (*rest || hosts < 1 || hosts > kMostHosts) {
    fprintf(stderr, "usage: floor [--full] N (1 to %d) | floor --settle\n", kMostHosts);
    return 1;
  }
  allow_many_descriptors();
  run((int)hosts, full);
  return 0;
}
