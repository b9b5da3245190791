// Echo server over poll(2). Book 9.2.
//
// One thread watches every connection. A connection is read only while nothing waits to be written to it, and poll is
// asked for POLLOUT only while something does: else it would return at once, for ever.
//
// Limits: poll's set is copied into the kernel for each call, so its cost grows with idle connections.
#include <poll.h>

#include <csignal>
#include <vector>

#include "lib/accept.h"
#include "lib/drain.h"
#include "lib/echo_connection.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

#ifdef MUTANT_BLOCKING
#include <fcntl.h>
#endif

namespace {

using Connections = std::vector<EchoConnection>;

Fd listen_as_told(const Options& options) {
#ifdef MUTANT_NO_REUSE
  Fd socket(check("socket", ::socket(options.address().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
  check("bind", bind(socket.get(), options.address().get(), options.address().size()));
  check("listen", listen(socket.get(), options.backlog));
  return socket;
#else
  return listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
#endif
}

class Server {
 public:
  explicit Server(const Options& options) : listener_(listen_as_told(options)) {}

  void run() {
    announce_ready();
#ifdef MUTANT_DRAINS_FOR_EVER
    while (!drain_.begun() || !connections_.empty()) {
#else
    while (!drain_.over(!connections_.empty())) {
#endif
      const bool is_quiet = wait();
      if (!signals_.take().empty()) end();
#ifdef MUTANT_NO_DRAIN
      if (drain_.begun()) return;
#endif
      const bool has_closed = serve_all();
      if (is_quiet || has_closed) has_room_ = true;
      if (watched_[1].revents != 0 && !drain_.begun()) accept();
    }
  }

 private:
  /// Wait until something can be done; true when nothing could for a while.
  bool wait() {
    watched_ = {{signals_.fd(), POLLIN, 0}, {has_room_ ? listener_.get() : -1, POLLIN, 0}};
    for (const EchoConnection& connection : connections_) {
      const short events = connection.owes() ? POLLOUT : POLLIN;
#ifdef MUTANT_RDHUP_BEFORE_IN
      watched_.push_back({connection.fd(), static_cast<short>(events | POLLRDHUP), 0});
#else
      watched_.push_back({connection.fd(), events, 0});
#endif
    }
    const bool looks_around = !has_room_ || drain_.begun();
    const int timeout = looks_around ? static_cast<int>(kAcceptPause.count()) : -1;
    // A signal interrupts it: revents are of no use then, and the turn does nothing but look at the signals.
    const int count = poll(watched_.data(), watched_.size(), timeout);
    if (count < 0 && errno != EINTR) check("poll", count);
    return count == 0;
  }

  void accept() {
    const bool has_room = accept_all(listener_.get(), [&](Fd socket) {
#ifdef MUTANT_BLOCKING
      fcntl(socket.get(), F_SETFL, 0);
#endif
#ifdef MUTANT_WAITS_FOR_MORE
      set_option(socket.get(), SOL_SOCKET, SO_RCVLOWAT, 2, "SO_RCVLOWAT");
#endif
      connections_.emplace_back(std::move(socket));
    });
#ifdef MUTANT_EMFILE_SPINS
    has_room_ = has_room || has_room_;
#else
    has_room_ = has_room;
#endif
  }

  /// Serve those that poll has named; true if one of them has come to its end.
  bool serve_all() {
    bool has_closed = false;
    for (std::size_t i = connections_.size(); i-- > 0;) {
      const short events = watched_[i + 2].revents;
#ifdef MUTANT_RDHUP_BEFORE_IN
      const bool is_gone = (events & POLLRDHUP) != 0;
#else
      const bool is_gone = false;
#endif
      if (events == 0) continue;
      if (!is_gone && connections_[i].serve() != EchoConnection::Progress::ended) continue;
      std::swap(connections_[i], connections_.back());  // it was looked at already
      connections_.pop_back();
      has_closed = true;
    }
    return has_closed;
  }

  void end() {
    drain_.begin();
    listener_.reset();
    for (const EchoConnection& connection : connections_) connection.end_input();
  }

  const SignalPipe signals_{SIGTERM, SIGINT};  // before the listener, so that no signal meets the default action
  Fd listener_;
  Connections connections_;
  std::vector<pollfd> watched_;  // signals, listener, connections in their order
  bool has_room_ = true;
  Drain drain_;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "echo server over poll(2)", options);
#ifdef MUTANT_SIGPIPE
  std::signal(SIGPIPE, SIG_DFL);
#endif
  Server(options).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
