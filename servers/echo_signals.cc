// Echo server whose every event, signals included, is a readable descriptor. Book 10.4.
//
// A handler may do next to nothing, so it writes the signal's number into a pipe, and the main loop reads it when it
// comes to it. Here even new connections come as a signal: the listener raises SIGIO (O_ASYNC, fcntl(2)). Signals are
// not counted: while one is pending, others of its number are as one with it. So a signal says that there may be
// something, and not how much: all that waits is accepted. SIGHUP and SIGUSR1 are logged, SIGUSR1 with counters.
//
// Limits: SIGIO does not say which descriptor it is about; with one listener that is known.
#include <fcntl.h>

#include <csignal>
#include <cstring>

#include "lib/accept.h"
#include "lib/drain.h"
#include "lib/echo_connections.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

class Server {
 public:
  explicit Server(const Options& options) : listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)) {
#ifdef MUTANT_BUSY_HANDLER
    std::signal(SIGHUP, [](int) { log_line("SIGHUP: nothing to read again"); });
#endif
    epoll_.add(signals_.fd(), EPOLLIN);
    check("F_SETOWN", fcntl(listener_.get(), F_SETOWN, getpid()));
    check("F_SETFL", fcntl(listener_.get(), F_SETFL, O_ASYNC | O_NONBLOCK));
    accept();  // what came before the first signal could
  }

  void run() {
    announce_ready();
    while (!drain_.over(!connections_.empty())) {
      const bool looks_around = !has_room_ || drain_.begun();
      const auto events = epoll_.wait(looks_around ? kAcceptPause : std::chrono::milliseconds{-1});
      for (const epoll_event& event : events) {
        if (event.data.fd == signals_.fd())
          take_signals();
        else
          connections_.serve(event.data.fd);
      }
      if (!has_room_ && !drain_.begun()) accept();  // for these no signal comes again
    }
  }

 private:
  void take_signals() {
    for (const int signal : signals_.take()) {
      if (signal == SIGIO) {
        ++accept_signals_;
        if (!drain_.begun()) accept();
      } else if (signal == SIGHUP) {
        log_line("SIGHUP: nothing to read again");
      } else if (signal == SIGUSR1) {
        log_line("accepted " + std::to_string(accepted_) + " at " + std::to_string(accept_signals_) + " signals");
      } else {
        drain_.begin();
        listener_.reset();
        connections_.end_input();
      }
    }
  }

  void accept() {
    auto take = [&](Fd socket) {
      ++accepted_;
      connections_.add(std::move(socket));
    };
#ifdef MUTANT_ONE_SIGNAL
    Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket) take(std::move(socket));
#else
    has_room_ = accept_all(listener_.get(), take);
#endif
  }

  Epoll epoll_;
  SignalPipe signals_{SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGIO};  // before the listener: SIGIO would end the program
  Fd listener_;
  EchoConnections connections_{epoll_};
  unsigned long accepted_ = 0;
  unsigned long accept_signals_ = 0;
  bool has_room_ = true;
  Drain drain_;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "echo server with a unified event source", options);
  Server(options).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
