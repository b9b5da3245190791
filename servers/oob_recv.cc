// A server that tells urgent data from ordinary data. Book 5.8 (MSG_OOB), 5.9 (sockatmark).
//
// Urgent data comes on two ways at once. Its byte can be taken as soon as it is there (EPOLLPRI, MSG_OOB), ahead of all
// that was sent before it. Its place is a mark in the stream, at which read(2) stops even if there is more behind it.
// What comes is logged: ordinary "123ab", urgent "c", mark.
//
// Limits: of two urgent bytes, the kernel makes the first an ordinary one when the second comes.
#include <sys/socket.h>

#include <array>
#include <csignal>

#include "lib/check.h"
#include "lib/conversations.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

constexpr std::size_t kBufferSize = 4096;

class Listening final : public Conversation {
 public:
  [[nodiscard]] std::uint32_t events() const override { return EPOLLIN | EPOLLPRI; }

  Next proceed(int socket) override {
#ifndef MUTANT_OOB_LOST
    take_urgent(socket);
#endif
    return read_ordinary(socket);
  }

 private:
  /// Take the urgent byte if there is one that was not taken (EINVAL else), and it has arrived (EAGAIN else).
  static void take_urgent(int socket) {
    char byte = 0;
    if (recv(socket, &byte, 1, MSG_OOB) == 1) log_line(std::string("urgent \"") + byte + "\"");
  }

  Next read_ordinary(int socket) {
    if (sockatmark(socket) == 1 && !at_mark_) {
      log_line("mark");
      at_mark_ = true;
    }
    std::array<char, kBufferSize> buffer{};
    const ssize_t count = uninterrupted([&] { return read(socket, buffer.data(), buffer.size()); });
    if (count < 0) return would_block() ? Next::kGoOn : Next::kOver;
    if (count == 0) return Next::kSaidAll;
    at_mark_ = false;
    log_line("ordinary \"" + std::string(buffer.data(), static_cast<std::size_t>(count)) + "\"");
    return Next::kGoOn;
  }

  bool at_mark_ = false;  // and said so
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "logs ordinary and urgent data", options);
  const SignalPipe signals{SIGTERM, SIGINT};
  converse(signals, listen_on(options.address(), options.backlog, SOCK_NONBLOCK), options.idle_timeout,
           [] { return std::make_unique<Listening>(); });
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
