// A server that sends a file without ever seeing it. Book 6.4.
//
// sendfile(2) gives the pages of the file that the kernel has in its cache to the socket: nothing is copied into the
// program's memory and back. It may send less than it is asked for, and moves the offset on by itself.
//
// Limits: the bare file, and its end is the connection's end, so that a client cannot tell a missing file from an
// empty one.
#include <fcntl.h>
#include <sys/sendfile.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <system_error>

#include "lib/check.h"
#include "lib/conversations.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

constexpr std::size_t kMostAtOnce = 1 << 20;  // so that a fast client does not keep the others waiting

#ifdef MUTANT_COPIES
ssize_t send_piece(int socket, int file, off_t* offset) {
  std::array<char, 16'384> buffer{};
  const ssize_t count = pread(file, buffer.data(), buffer.size(), *offset);
  if (count <= 0) return count;
  const ssize_t sent = write(socket, buffer.data(), static_cast<std::size_t>(count));
  *offset += std::max<ssize_t>(sent, 0);
  return sent;
}
#else
ssize_t send_piece(int socket, int file, off_t* offset) { return sendfile(socket, file, offset, kMostAtOnce); }
#endif

class FileSent final : public Conversation {
 public:
  explicit FileSent(std::filesystem::path path) : path_(std::move(path)) {}

  [[nodiscard]] std::uint32_t events() const override { return EPOLLOUT; }

  Next proceed(int socket) override {
#ifdef MUTANT_BLOCKS
    fcntl(socket, F_SETFL, 0);
#endif
    if (!file_ && !open_file()) return Next::kOver;
#ifdef MUTANT_LINGER_ZERO
    const linger discard{1, 0};
    setsockopt(socket, SOL_SOCKET, SO_LINGER, &discard, sizeof discard);
    constexpr Next kEnd = Next::kOver;
#else
    constexpr Next kEnd = Next::kSaidAll;
#endif
    const ssize_t count = uninterrupted([&] { return send_piece(socket, file_.get(), &offset_); });
    if (count < 0) return would_block() ? Next::kGoOn : Next::kOver;
    return count > 0 ? Next::kGoOn : kEnd;
  }

 private:
  bool open_file() {
    file_.reset(open(path_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
    if (!file_) log_line(path_.string() + ": " + std::error_code(errno, std::generic_category()).message());
    return static_cast<bool>(file_);
  }

  std::filesystem::path path_;
  Fd file_;
  off_t offset_ = 0;
};

void serve(int argc, char** argv) {
  Options options;
  std::string file = "index.html";
  parse(argc, argv, "sends everyone one file, by sendfile(2)", options,
        {{"--file", "NAME", "the file, in --root (default: index.html)", &file}});
  const auto path = std::filesystem::path(options.root) / file;
  const SignalPipe signals{SIGTERM, SIGINT};
  converse(signals, listen_on(options.address(), options.backlog, SOCK_NONBLOCK), options.idle_timeout,
           [&] { return std::make_unique<FileSent>(path); });
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
