// A server that answers with a header and a file in one system call. Book 6.3.
//
// writev(2) takes a list of places in memory, and sends them one after the other as if they were one: no copying
// together, and no small segment for the header alone. Like write(2) it may take less than all, and may stop in the
// middle of any place of the list; then the list has to be moved on by what was taken.
//
// Limits: every client gets the same file, whatever it asks for; the book's web server (15.6) is another program.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>

#include "lib/check.h"
#include "lib/conversations.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

/// Owns a file's contents as a place in memory. A file that shrinks meanwhile makes writev(2) fail with EFAULT.
class Mapping {
 public:
  Mapping() = default;
  Mapping(int file, std::size_t size) : size_(size) {
    if (size == 0) return;  // mmap(2) refuses that, and there is nothing to be mapped
    data_ = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
    if (data_ == MAP_FAILED) check("mmap", -1);
  }
  Mapping(Mapping&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Mapping& operator=(Mapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (size_ > 0) munmap(data_, size_);
  }

  [[nodiscard]] iovec place() const { return {data_, size_}; }

 private:
  void* data_ = nullptr;
  std::size_t size_ = 0;
};

struct Answer {
  std::string header;
  Mapping body;
};

std::string header(const std::string& status, std::size_t length) {
  return "HTTP/1.0 " + status + "\r\nContent-Length: " + std::to_string(length) + "\r\n\r\n";
}

Answer answer_with(const std::filesystem::path& path) {
  const Fd file(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
#ifdef MUTANT_MISSING_RETURN
  if (!file) header("404 Not Found", 0);
#else
  if (!file) return {errno == ENOENT ? header("404 Not Found", 0) : header("500 Internal Server Error", 0), {}};
#endif
  check("fstat", fstat(file.get(), &status));
  if (!S_ISREG(status.st_mode)) return {header("403 Forbidden", 0), {}};
  const auto size = static_cast<std::size_t>(status.st_size);
  return {header("200 OK", size), Mapping(file.get(), size)};
}

/// Move a list of places on by so many bytes.
void advance(std::array<iovec, 2>& places, std::size_t count) {
  for (iovec& place : places) {
    const std::size_t taken = std::min(count, place.iov_len);
    place.iov_base = static_cast<char*>(place.iov_base) + taken;
    place.iov_len -= taken;
    count -= taken;
  }
}

class FileAnswer final : public Conversation {
 public:
  explicit FileAnswer(std::filesystem::path path) : path_(std::move(path)) {}

  [[nodiscard]] std::uint32_t events() const override { return EPOLLOUT; }

  Next proceed(int socket) override {
    if (answer_.header.empty()) begin();
#ifdef MUTANT_EMPTY_FILE
    if (places_[1].iov_len == 0) return Next::kSaidAll;
#endif
#ifdef MUTANT_TWO_WRITES
    const iovec& next = places_[0].iov_len > 0 ? places_[0] : places_[1];
    const ssize_t count = uninterrupted([&] { return write(socket, next.iov_base, next.iov_len); });
#else
    const ssize_t count =
        uninterrupted([&] { return writev(socket, places_.data(), static_cast<int>(places_.size())); });
#endif
    if (count < 0) return would_block() ? Next::kGoOn : Next::kOver;
#ifdef MUTANT_PARTIAL_WRITEV
    advance(places_, SIZE_MAX);
#else
    advance(places_, static_cast<std::size_t>(count));
#endif
    return places_[0].iov_len + places_[1].iov_len == 0 ? Next::kSaidAll : Next::kGoOn;
  }

 private:
  void begin() {
    answer_ = answer_with(path_);
    places_ = {iovec{answer_.header.data(), answer_.header.size()}, answer_.body.place()};
  }

  std::filesystem::path path_;
  Answer answer_;
  std::array<iovec, 2> places_{};  // what is still to be sent
};

void serve(int argc, char** argv) {
  Options options;
  std::string file = "index.html";
  parse(argc, argv, "answers everyone with one file, by writev(2)", options,
        {{"--file", "NAME", "the file, in --root (default: index.html)", &file}});
  const auto path = std::filesystem::path(options.root) / file;
  const SignalPipe signals{SIGTERM, SIGINT};
#ifdef MUTANT_SIGPIPE
  std::signal(SIGPIPE, SIG_DFL);
#endif
  converse(signals, listen_on(options.address(), options.backlog, SOCK_NONBLOCK), options.idle_timeout,
           [&] { return std::make_unique<FileAnswer>(path); });
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
