// Echo server for TCP and UDP on one port. Book 9.7.
//
// The two protocols have port numbers of their own, so two sockets can be bound to the same one, and epoll watches
// both. A datagram goes back as long as it came, an empty one too, and from the address that it was sent to: a host
// with several addresses would otherwise answer from the one that the route prefers, and the peer would not know the
// answer.
//
// Limits: datagrams that there is no room to send are lost, as anywhere on their way. Those from the server's own port
// are not answered: two echo servers would be busy with a single one for ever (RFC 862 knows no remedy).
#include <netinet/in.h>

#include <array>
#include <csignal>

#include "lib/accept.h"
#include "lib/drain.h"
#include "lib/echo_connections.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

constexpr std::size_t kLongestDatagram = 65'535;
constexpr int kDatagramsInARow = 256;  // then the connections have their turn

/// A UDP socket that sends back what it receives.
class DatagramEcho {
 public:
  explicit DatagramEcho(const Address& address)
      : port_(address.port()), socket_(bind_datagrams(address, SOCK_NONBLOCK)) {
    if (address.family() == AF_INET6)
      set_option(socket_.get(), IPPROTO_IPV6, IPV6_RECVPKTINFO, 1, "IPV6_RECVPKTINFO");
    else
      set_option(socket_.get(), IPPROTO_IP, IP_PKTINFO, 1, "IP_PKTINFO");
  }

  [[nodiscard]] int fd() const { return socket_.get(); }

  void serve() {
    for (int i = 0; i < kDatagramsInARow && answer_one(); ++i) continue;
  }

 private:
  /// False when no datagram waits.
  bool answer_one() {
    Address peer;
    iovec data{buffer_.data(), buffer_.size()};
    msghdr message{};
    message.msg_name = peer.get();
    message.msg_namelen = peer.size();
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control_.data();
    message.msg_controllen = control_.size();
    const ssize_t count = uninterrupted([&] { return recvmsg(fd(), &message, 0); });
    if (count < 0) {
      if (!would_block()) check("recvmsg", count);
      return false;
    }
#ifndef MUTANT_ANSWERS_ITSELF
    if (peer.port() == port_) return true;
#endif
#ifdef MUTANT_UDP_FIXED_LENGTH
    data.iov_len = 512;
#else
    data.iov_len = static_cast<std::size_t>(count);
#endif
    // What was said of where it came from is now said of where it goes: the address that it was sent to.
    forget_interface(message);
#ifdef MUTANT_NO_PKTINFO
    message.msg_controllen = 0;
#endif
    // An answer that cannot be sent is a datagram lost: nobody to tell.
    uninterrupted([&] { return sendmsg(fd(), &message, 0); });
    return true;
  }

  /// Leave the choice of the interface to the routing table.
  static void forget_interface(msghdr& message) {
    for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
      if (part->cmsg_level == IPPROTO_IP && part->cmsg_type == IP_PKTINFO)
        reinterpret_cast<in_pktinfo*>(CMSG_DATA(part))->ipi_ifindex = 0;
    }
  }

  int port_;
  Fd socket_;
  std::array<char, kLongestDatagram> buffer_{};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(in6_pktinfo))> control_{};
};

class Server {
 public:
  explicit Server(const Options& options)
      : listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)), datagrams_(options.address()) {
    epoll_.add(signals_.fd(), EPOLLIN);
    epoll_.add(listener_.get(), EPOLLIN);
    epoll_.add(datagrams_.fd(), EPOLLIN);
  }

  void run() {
    announce_ready();
    while (!drain_.over(!connections_.empty())) {
      const bool looks_around = !has_room_ || drain_.begun();
      const auto events = epoll_.wait(looks_around ? kAcceptPause : std::chrono::milliseconds{-1});
      if (!drain_.begun()) listen(true);
      for (const epoll_event& event : events) take(event.data.fd);
    }
  }

 private:
  void take(int fd) {
    if (fd == signals_.fd()) {
      epoll_.remove(fd);  // one signal is enough
      drain_.begin();
#ifndef MUTANT_WAITING_ARE_RESET
      accept();  // whoever is connected already would meet a reset
#endif
      listener_.reset();
      connections_.end_input();
    } else if (fd == datagrams_.fd()) {
      datagrams_.serve();
    } else if (fd == listener_.get()) {
      listen(accept());
    } else {
      connections_.serve(fd);
    }
  }

  /// Accept all who wait; false if there is no room for all of them.
  bool accept() {
    return accept_all(listener_.get(), [&](Fd socket) { connections_.add(std::move(socket)); });
  }

  /// Watch the listener, or do not.
  void listen(bool has_room) {
    if (has_room == has_room_) return;
    has_room_ = has_room;
    epoll_.modify(listener_.get(), has_room ? EPOLLIN : 0U);
  }

  Epoll epoll_;
  SignalPipe signals_{SIGTERM, SIGINT};
  Fd listener_;
  DatagramEcho datagrams_;
  EchoConnections connections_{epoll_};
  bool has_room_ = true;
  Drain drain_;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "echo server for TCP and UDP on one port", options);
  Server(options).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
