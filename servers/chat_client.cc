// Chat client over poll(2): stdin to the server, what the server sends to stdout. Book 9.6.1.
//
// What is typed goes through a pipe with splice(2), from stdin into the pipe and from there to the socket; it never
// enters this program. The socket is not written to while it is full, so that the client goes on reading meanwhile.
//
// Limits: stdout is written to as it comes, and may block. The client ends when the server ends its side.
#include <fcntl.h>
#include <poll.h>

#include <array>
#include <string_view>

#include "lib/address.h"
#include "lib/check.h"
#include "lib/options.h"
#include "lib/pipe.h"
#include "lib/server.h"
#include "lib/stream.h"

namespace {

constexpr std::size_t kPiece = 32'768;

Pipe make_pipe() {
  std::optional<Pipe> pipe = open_pipe();
  if (!pipe) check("pipe2", -1);
  return std::move(*pipe);
}

/// What is on its way from stdin to the server.
class Talk {
 public:
  explicit Talk(int socket) : socket_(socket), pipe_(make_pipe()) {}

  [[nodiscard]] short stdin_events() const { return has_ended_ || in_pipe_ > 0 ? 0 : POLLIN; }
  [[nodiscard]] short socket_events() const { return in_pipe_ > 0 ? POLLOUT : 0; }

  void take_in() {
    const ssize_t count = uninterrupted(
        [&] { return splice(STDIN_FILENO, nullptr, pipe_.writer.get(), nullptr, kPiece, SPLICE_F_MOVE); });
    in_pipe_ = static_cast<std::size_t>(check("splice from stdin", count));
    if (count > 0) return;
    has_ended_ = true;
#ifndef MUTANT_NO_FAREWELL
    check("shutdown", shutdown(socket_, SHUT_WR));
#endif
  }

  void put_out() {
    const ssize_t count = uninterrupted([&] {
      return splice(pipe_.reader.get(), nullptr, socket_, nullptr, in_pipe_, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    });
    if (count < 0 && would_block()) return;
    in_pipe_ -= static_cast<std::size_t>(check("splice to the server", count));
  }

 private:
  int socket_;
  Pipe pipe_;
  std::size_t in_pipe_ = 0;
  bool has_ended_ = false;
};

/// Print what the server has sent; false when it has ended its side.
bool listen_to(int socket) {
  std::array<char, kPiece> buffer;
  const ssize_t count = uninterrupted([&] { return read(socket, buffer.data(), buffer.size()); });
  if (count < 0 && would_block()) return true;
  const std::string_view heard(buffer.data(), static_cast<std::size_t>(check("read", count)));
  if (!write_all(STDOUT_FILENO, heard)) check("write to stdout", -1);
  return count > 0;
}

void converse(int argc, char** argv) {
  Options options;
  options.host = "127.0.0.1";
  parse(argc, argv, "chat client over poll(2) and splice(2)", options);
  const Fd socket = connect_to(options.address());
  check("O_NONBLOCK", fcntl(socket.get(), F_SETFL, O_NONBLOCK));

  Talk talk(socket.get());
  while (true) {
    const int input =
        talk.stdin_events() == 0 ? -1 : STDIN_FILENO;  // a pipe without writers would be reported for ever
    const auto events = static_cast<short>(POLLIN | talk.socket_events());
    std::array<pollfd, 2> watched{{{input, POLLIN, 0}, {socket.get(), events, 0}}};
    check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), -1); }));
    if (watched[0].revents != 0) talk.take_in();
    if ((watched[1].revents & POLLOUT) != 0) talk.put_out();
    if ((watched[1].revents & ~POLLOUT) != 0 && !listen_to(socket.get())) return;
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { converse(argc, argv); });
}
