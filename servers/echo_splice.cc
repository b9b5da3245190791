// Echo server without a copy. Book 6.6.
//
// splice(2) moves pages from the socket into a pipe, and from the pipe back into the socket; the program never sees the
// data. Each connection has a pipe of its own, which holds what the client has sent and not yet got back. The socket is
// read only while the pipe is empty, so that a client that sends without reading fills its own buffers.
//
// Limits: three descriptors for each connection.
#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <tuple>

#include "lib/check.h"
#include "lib/conversations.h"
#include "lib/options.h"
#include "lib/pipe.h"
#include "lib/server.h"

namespace {

constexpr std::size_t kMostAtOnce = 65'536;  // what a pipe holds (pipe(7))

#ifdef MUTANT_COPIES
ssize_t move_bytes(int from, int to, std::size_t most) {
  std::array<char, 4096> buffer{};
  const ssize_t count = read(from, buffer.data(), std::min(most, buffer.size()));
  for (ssize_t done = 0; done < count;) {
    const ssize_t written = write(to, buffer.data() + done, static_cast<std::size_t>(count - done));
    pollfd room{to, POLLOUT, 0};
    if (written >= 0) {
      done += written;
    } else if (!would_block() || poll(&room, 1, -1) < 0) {
      return -1;
    }
  }
  return count;
}
#else
ssize_t move_bytes(int from, int to, std::size_t most) {
  return splice(from, nullptr, to, nullptr, most, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}
#endif

class Echo final : public Conversation {
 public:
  explicit Echo(Pipe pipe) : pipe_(std::move(pipe)) {}
#ifdef MUTANT_LEAKS_PIPE
  ~Echo() override { std::ignore = pipe_.reader.release(); }
#endif

  [[nodiscard]] std::uint32_t events() const override { return held_ == 0 ? EPOLLIN : EPOLLOUT; }

  Next proceed(int socket) override {
    if (held_ > 0) return send_back(socket);
    const ssize_t count = uninterrupted([&] { return move_bytes(socket, pipe_.writer.get(), kMostAtOnce); });
    if (count < 0) return would_block() ? Next::kGoOn : Next::kOver;
    if (count == 0) return Next::kSaidAll;
    held_ = static_cast<std::size_t>(count);
    return send_back(socket);
  }

 private:
  Next send_back(int socket) {
    const ssize_t count = uninterrupted([&] { return move_bytes(pipe_.reader.get(), socket, held_); });
    if (count < 0) return would_block() ? Next::kGoOn : Next::kOver;
#ifdef MUTANT_SHORT_SPLICE
    held_ = 0;
#else
    held_ -= static_cast<std::size_t>(count);
#endif
    return Next::kGoOn;
  }

  Pipe pipe_;
  std::size_t held_ = 0;  // bytes in the pipe
};

std::unique_ptr<Conversation> make_echo() {
  auto pipe = open_pipe(O_NONBLOCK);
  if (pipe) return std::make_unique<Echo>(std::move(*pipe));
#ifdef MUTANT_DIES_WHEN_FULL
  const bool is_full = false;
#else
  const bool is_full = errno == EMFILE || errno == ENFILE;
#endif
  if (!is_full) check("pipe2", -1);
  return nullptr;
}

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "echo server over splice(2)", options);
#ifdef MUTANT_IDLE_NEVER
  options.idle_timeout = std::chrono::hours{24};
#endif
  const SignalPipe signals{SIGTERM, SIGINT};
  converse(signals, listen_on(options.address(), options.backlog, SOCK_NONBLOCK), options.idle_timeout, make_echo);
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
