// Echo server over epoll(7), level-triggered or edge-triggered. Book 9.3.3.
//
// Level-triggered, epoll reports a descriptor for as long as something can be done with it, and one step at a time is
// enough. With --edge it reports a change once: whoever does not go on until the kernel says EAGAIN never hears of the
// rest, and that holds for the listener as well. SIGUSR1 logs how many events it took: many small ones against few.
//
// Limits: one thread. An edge-triggered connection that never says EAGAIN is put behind the others after some steps.
#include <csignal>
#include <unordered_map>

#include "lib/accept.h"
#include "lib/drain.h"
#include "lib/echo_connection.h"
#include "lib/epoll.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

using Progress = EchoConnection::Progress;

constexpr int kSteps = 64;  // of a connection in a row
constexpr std::uint32_t kEdge = EPOLLIN | EPOLLOUT | EPOLLET;

class Server {
 public:
  Server(const Options& options, bool is_edge)
      : is_edge_(is_edge), listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)) {
    epoll_.add(signals_.fd(), EPOLLIN);
    epoll_.add(listener_.get(), listening());
  }

  void run() {
    announce_ready();
    while (!drain_.over(!connections_.empty())) {
      const bool looks_around = !has_room_ || drain_.begun();
      const auto events = epoll_.wait(looks_around ? kAcceptPause : std::chrono::milliseconds{-1});
      if (events.empty()) listen_again();
      for (const epoll_event& event : events) take(event);
    }
  }

 private:
  [[nodiscard]] std::uint32_t listening() const { return EPOLLIN | (is_edge_ ? EPOLLET : 0U); }

  void take(const epoll_event& event) {
    const int fd = event.data.fd;
    if (fd == signals_.fd()) return take_signals();
    if (fd == listener_.get()) return accept();
    ++events_;
    const auto found = connections_.find(fd);
    if (found == connections_.end()) return;
    if (is_edge_)
      serve_until_blocked(found->second);
    else
      serve_once(found->second);
  }

  void serve_once(EchoConnection& connection) {
    const bool owed = connection.owes();
    if (connection.serve() == Progress::ended) return close(connection.fd());
    if (connection.owes() != owed) epoll_.modify(connection.fd(), connection.owes() ? EPOLLOUT : EPOLLIN);
  }

  void serve_until_blocked(EchoConnection& connection) {
    Progress progress = connection.serve();
#ifndef MUTANT_LOST_TAIL
    for (int step = 1; progress == Progress::moved && step < kSteps; ++step) progress = connection.serve();
    // Modifying looks at the descriptor anew, and so reports once more what can be done.
    if (progress == Progress::moved) epoll_.modify(connection.fd(), kEdge);
#endif
    if (progress == Progress::ended) close(connection.fd());
  }

  void accept() {
    auto take = [&](Fd socket) {
      const int fd = socket.get();
      connections_.emplace(fd, EchoConnection(std::move(socket)));
      epoll_.add(fd, is_edge_ ? kEdge : EPOLLIN);
    };
#ifdef MUTANT_SINGLE_ACCEPT
    Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket) take(std::move(socket));
#else
    has_room_ = accept_all(listener_.get(), take);
    if (!has_room_) epoll_.modify(listener_.get(), 0);
#endif
  }

  void close(int fd) {
    connections_.erase(fd);
    listen_again();
  }

  void listen_again() {
    if (has_room_ || drain_.begun()) return;
    has_room_ = true;
    epoll_.modify(listener_.get(), listening());
  }

  void take_signals() {
    for (const int signal : signals_.take()) {
      if (signal == SIGUSR1)
        log_line("events " + std::to_string(events_) + " connections " + std::to_string(connections_.size()));
      else
        end();
    }
  }

  void end() {
    drain_.begin();
    listener_.reset();
    for (const auto& [fd, connection] : connections_) connection.end_input();
  }

  const bool is_edge_;
  Epoll epoll_;
  SignalPipe signals_{SIGTERM, SIGINT, SIGUSR1};
  Fd listener_;
  std::unordered_map<int, EchoConnection> connections_;
  unsigned long events_ = 0;  // of connections
  bool has_room_ = true;
  Drain drain_;
};

void serve(int argc, char** argv) {
  Options options;
  std::string edge;
  parse(argc, argv, "echo server over epoll(7)", options,
        {{"--edge", "", "edge-triggered; level-triggered without", &edge}});
  Server(options, !edge.empty()).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
