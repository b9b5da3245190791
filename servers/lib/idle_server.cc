#include "lib/idle_server.h"

#include <algorithm>
#include <csignal>
#include <unordered_map>

#include "lib/accept.h"
#include "lib/drain.h"
#include "lib/echo_connections.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

using std::chrono::milliseconds;

/// How long a connection has been silent.
struct Silence : Timer {
  int fd = -1;
};

class Server {
 public:
  Server(const Options& options, Timers& timers)
      : patience_(options.idle_timeout),
        timers_(timers),
        listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)) {
    epoll_.add(signals_.fd(), EPOLLIN);
    epoll_.add(listener_.get(), EPOLLIN);
  }

  ~Server() {
    for (auto& [fd, silence] : silences_) timers_.cancel(silence);
  }

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  Server(Server&&) = delete;
  Server& operator=(Server&&) = delete;

  void run() {
    announce_ready();
    while (!drain_.over(!connections_.empty())) {
      const auto events = epoll_.wait(until_next_look());
      if (!drain_.begun()) listen(true);
      for (const epoll_event& event : events) take(event.data.fd);
      close_idle();
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
    } else if (fd == listener_.get()) {
      listen(accept());
    } else {
      serve(fd);
    }
  }

  /// Accept all who wait; false if there is no room for all of them.
  bool accept() {
    return accept_all(listener_.get(), [&](Fd socket) { add(std::move(socket)); });
  }

  void add(Fd socket) {
    const int fd = socket.get();
    connections_.add(std::move(socket));
    Silence& silence = silences_[fd];
    silence.fd = fd;
    timers_.add(silence, Clock::now() + patience_);
  }

  void serve(int fd) {
    const auto silence = silences_.find(fd);
    if (silence == silences_.end()) return;  // closed earlier in this turn
    const bool goes_on = connections_.serve(fd);
#ifdef MUTANT_NO_RENEWAL
    if (goes_on) return;
#endif
    timers_.cancel(silence->second);
    if (goes_on)
      timers_.add(silence->second, Clock::now() + patience_);
    else
      silences_.erase(silence);
  }

  void close_idle() {
#ifndef MUTANT_IDLE_NEVER
    while (Timer* const timer = timers_.pop_due(Clock::now())) {
      const int fd = static_cast<Silence*>(timer)->fd;
      connections_.close(fd);
      silences_.erase(fd);
      log_line("closed an idle connection");
    }
#endif
  }

  /// How long to wait for events; negative for as long as it takes.
  [[nodiscard]] milliseconds until_next_look() const {
    const bool looks_around = !has_room_ || drain_.begun();
    milliseconds longest = looks_around ? kAcceptPause : milliseconds::max();
#ifndef MUTANT_IDLE_NEVER
    if (const auto next = timers_.next_look())
      longest = std::min(longest, std::chrono::ceil<milliseconds>(*next - Clock::now()));
#endif
    return longest == milliseconds::max() ? milliseconds{-1} : std::max(longest, milliseconds{0});
  }

  /// Watch the listener, or do not.
  void listen(bool has_room) {
    if (has_room == has_room_) return;
    has_room_ = has_room;
    epoll_.modify(listener_.get(), has_room ? EPOLLIN : 0U);
  }

  const milliseconds patience_;
  Timers& timers_;
  Epoll epoll_;
  SignalPipe signals_{SIGTERM, SIGINT};
  Fd listener_;
  EchoConnections connections_{epoll_};
  std::unordered_map<int, Silence> silences_;  // by the connection's descriptor
  bool has_room_ = true;
  Drain drain_;
};

}  // namespace

void serve_until_idle(int argc, char** argv, const std::string& summary, Timers& timers) {
  Options options;
  parse(argc, argv, summary, options);
  Server(options, timers).run();
}
