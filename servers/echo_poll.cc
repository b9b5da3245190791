// Echo server over poll(2). Book 9.2.
//
// One thread watches every connection. A connection is read only while nothing waits to be written to it, so that a
// peer that sends without reading fills its own buffers and not this program's memory, and poll is asked for POLLOUT
// only while there is something to write: else it would return at once, for ever.
//
// Limits: poll's set is copied into the kernel for each call, so its cost grows with idle connections.
#include <poll.h>

#include <array>
#include <csignal>
#include <memory>
#include <vector>

#include "lib/check.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

constexpr std::size_t kBufferSize = 16'384;

/// A connection, and what it has sent and not yet got back.
class Connection {
 public:
  explicit Connection(Fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] short events() const { return begin_ == end_ ? POLLIN : POLLOUT; }

  /// Do what poll says can be done; false when the connection has come to its end.
  bool serve() { return begin_ == end_ ? receive() : send_back(); }

 private:
  bool receive() {
    const ssize_t count = uninterrupted([&] { return read(fd(), buffer_.data(), buffer_.size()); });
    if (count < 0) return would_block();
    begin_ = 0;
    end_ = static_cast<std::size_t>(count);
    return count > 0 && send_back();
  }

  bool send_back() {
    const ssize_t count = uninterrupted([&] { return write(fd(), buffer_.data() + begin_, end_ - begin_); });
    if (count < 0) return would_block();
#ifdef MUTANT_SHORT_WRITE
    begin_ = end_;
#else
    begin_ += static_cast<std::size_t>(count);
#endif
    return true;
  }

  Fd socket_;
  std::array<char, kBufferSize> buffer_{};
  std::size_t begin_ = 0;  // of what waits in the buffer
  std::size_t end_ = 0;
};

/// Accept all that wait; at the limit of descriptors they go on waiting, and `false` says not to ask for a while.
bool accept_all(int listener, std::vector<std::unique_ptr<Connection>>& connections) {
  while (true) {
    Fd socket(uninterrupted([&] { return accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }));
    if (socket) {
      connections.push_back(std::make_unique<Connection>(std::move(socket)));
    } else if (errno == EMFILE || errno == ENFILE) {
      return false;
    } else if (errno != ECONNABORTED) {
      if (!would_block()) check("accept4", -1);
      return true;
    }
  }
}

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "echo server over poll(2)", options);
  const SignalPipe signals{SIGTERM, SIGINT};
  const Fd listener = listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
  announce_ready();

  std::vector<std::unique_ptr<Connection>> connections;
  std::vector<pollfd> watched;
  bool has_room = true;
  while (true) {
    watched = {{signals.fd(), POLLIN, 0}, {has_room ? listener.get() : -1, POLLIN, 0}};
    for (const auto& connection : connections) watched.push_back({connection->fd(), connection->events(), 0});
    check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), -1); }));

    if (watched[0].revents != 0) return;
    for (std::size_t i = connections.size(); i-- > 0;) {
      if (watched[i + 2].revents == 0 || connections[i]->serve()) continue;
      std::swap(connections[i], connections.back());
      connections.pop_back();
      has_room = true;
    }
    if (watched[1].revents != 0) has_room = accept_all(listener.get(), connections);
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
