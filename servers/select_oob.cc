// Server that tells normal from urgent data with select(2). Book 9.1.3.
//
// An urgent byte (MSG_OOB) makes a socket exceptional, all else makes it readable. select changes the sets that it is
// given, so they are filled anew for each call. What comes is logged: `normal "ab"`, `urgent "c"`.
//
// Limits: select knows descriptors below FD_SETSIZE (1024) only; to put a greater one into a set writes past its end.
// Of several urgent bytes that come before the first is read, the last is urgent.
#include <sys/select.h>

#include <algorithm>
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
  if (count < 0) return would_block() || errno == EINVAL;  // EINVAL: the urgent byte was replaced or has been read
  if (count > 0) log_line(kind + (" \"" + std::string(buffer.data(), static_cast<std::size_t>(count)) + "\""));
  return count > 0;
}

class Server {
 public:
  explicit Server(const Options& options) : listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)) {}

  void run() {
    announce_ready();
    while (true) {
      const int count = wait();
      if (!signals_.take().empty()) return;
      if (count < 0) continue;  // a signal has interrupted it, and the sets mean nothing
      std::erase_if(connections_, [&](const Fd& connection) { return !serve(connection.get()); });
      if (count == 0) has_room_ = true;
      if (FD_ISSET(listener_.get(), &readable_)) accept();
    }
  }

 private:
  int wait() {
    FD_ZERO(&readable_);
    FD_ZERO(&exceptional_);
    FD_SET(signals_.fd(), &readable_);
    if (has_room_) FD_SET(listener_.get(), &readable_);
    int highest = std::max(signals_.fd(), listener_.get());
    for (const Fd& connection : connections_) {
      FD_SET(connection.get(), &readable_);
      FD_SET(connection.get(), &exceptional_);
      highest = std::max(highest, connection.get());
    }
    timeval pause{0, std::chrono::microseconds(kAcceptPause).count()};
    const int count = select(highest + 1, &readable_, nullptr, &exceptional_, has_room_ ? nullptr : &pause);
    if (count < 0 && errno != EINTR) check("select", count);
    return count;
  }

  /// False when the connection has come to its end.
  bool serve(int socket) {
#ifdef MUTANT_OOB_LOST
    if (FD_ISSET(socket, &exceptional_)) receive(socket, "urgent", 0);
#else
    // First: reading normal data past the urgent byte would lose it.
    if (FD_ISSET(socket, &exceptional_)) receive(socket, "urgent", MSG_OOB);
#endif
    return !FD_ISSET(socket, &readable_) || receive(socket, "normal", 0);
  }

  void accept() {
    has_room_ = accept_all(listener_.get(), [&](Fd socket) {
#ifdef MUTANT_OVERFLOW
      const bool fits = socket.get() >= 0;
#else
      const bool fits = socket.get() < FD_SETSIZE;
#endif
      if (fits)
        connections_.push_back(std::move(socket));
      else
        log_line("select(2) has no room for descriptor " + std::to_string(socket.get()));
    });
  }

  const SignalPipe signals_{SIGTERM, SIGINT};  // before the listener, so that no signal meets the default action
  Fd listener_;
  std::vector<Fd> connections_;
  fd_set readable_{};
  fd_set exceptional_{};
  bool has_room_ = true;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "server that tells urgent data by select(2)", options);
  Server(options).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
