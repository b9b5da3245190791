// Server that is told of urgent data by SIGURG. Book 10.5.3.
//
// The kernel sends the signal to whoever owns the socket (F_SETOWN); a socket has no owner at first. The signal does
// not say which socket it is about, so all of them are asked. What comes is logged: `normal "ab"`, `urgent "c"`.
//
// Limits: normal data ends at the urgent byte, and reading on from there would lose it. So a connection is asked for
// it (sockatmark(3)) before each read, too: the signal may be on its way while the data is there.
#include <fcntl.h>
#include <poll.h>

#include <array>
#include <csignal>
#include <string>
#include <vector>

#include "lib/accept.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

/// Log what waits; false when the connection has come to its end.
bool receive(int socket, const char* kind, int flags) {
  std::array<char, 1024> buffer;
  const ssize_t count = uninterrupted([&] { return recv(socket, buffer.data(), buffer.size(), flags); });
  if (count < 0) return would_block() || errno == EINVAL;  // EINVAL: there is no urgent byte
  if (count > 0) log_line(kind + (" \"" + std::string(buffer.data(), static_cast<std::size_t>(count)) + "\""));
  return count > 0;
}

class Server {
 public:
  explicit Server(const Options& options) : listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)) {}

  void run() {
    announce_ready();
    while (true) {
      wait();
      // Whatever poll says: the signal may have come while it was about to return for something else.
      for (const int signal : signals_.take()) {
        if (signal != SIGURG) return;
        for (const Fd& connection : connections_) receive(connection.get(), "urgent", MSG_OOB);
      }
      serve_all();
      if (watched_[1].revents != 0) accept();
    }
  }

 private:
  void wait() {
    watched_ = {{signals_.fd(), POLLIN, 0}, {has_room_ ? listener_.get() : -1, POLLIN, 0}};
    for (const Fd& connection : connections_) watched_.push_back({connection.get(), POLLIN, 0});
    const int timeout = has_room_ ? -1 : static_cast<int>(kAcceptPause.count());
    const int count = poll(watched_.data(), watched_.size(), timeout);
    if (count < 0 && errno != EINTR) check("poll", count);  // after a signal no revents are set
    if (count == 0) has_room_ = true;
  }

  void serve_all() {
    for (std::size_t i = connections_.size(); i-- > 0;) {
      if (watched_[i + 2].revents == 0 || serve(connections_[i].get())) continue;
      std::swap(connections_[i], connections_.back());
      connections_.pop_back();
    }
  }

  /// False when the connection has come to its end.
  static bool serve(int socket) {
#ifndef MUTANT_NO_OWNER
    if (sockatmark(socket) == 1) receive(socket, "urgent", MSG_OOB);
#endif
    return receive(socket, "normal", 0);
  }

  void accept() {
    has_room_ = accept_all(listener_.get(), [&](Fd socket) {
#ifndef MUTANT_NO_OWNER
      check("F_SETOWN", fcntl(socket.get(), F_SETOWN, getpid()));
#endif
      // What came before there was an owner was said to nobody.
      receive(socket.get(), "urgent", MSG_OOB);
      connections_.push_back(std::move(socket));
    });
  }

  const SignalPipe signals_{SIGTERM, SIGINT,
                            SIGURG};  // before the listener, so that no signal meets the default action
  Fd listener_;
  std::vector<Fd> connections_;
  std::vector<pollfd> watched_;  // signals, listener, connections in their order
  bool has_room_ = true;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "server that is told of urgent data by SIGURG", options);
  Server(options).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
