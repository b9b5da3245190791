/// What has come from a client and is not used up yet.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstring>
#include <memory>
#include <string_view>

#include "lib/check.h"

namespace web {

/// A buffer of a fixed size that is read into at its end and used up from its beginning.
class InputBuffer {
 public:
  explicit InputBuffer(std::size_t capacity)
      : bytes_(std::make_unique_for_overwrite<char[]>(capacity)), capacity_(capacity) {}

  [[nodiscard]] std::string_view view() const { return {bytes_.get() + begin_, end_ - begin_}; }
  [[nodiscard]] bool empty() const { return begin_ == end_; }

  void consume(std::size_t count) {
    begin_ += count;
    if (begin_ == end_) clear();
  }

  void clear() { begin_ = end_ = 0; }

  /// Receive once, as much as there is room for; returns what recv(2) does. There must be room.
  ssize_t receive_from(int socket) {
    if (begin_ > 0) {
      std::memmove(bytes_.get(), bytes_.get() + begin_, end_ - begin_);
      end_ -= begin_;
      begin_ = 0;
    }
    const ssize_t count = uninterrupted([&] { return recv(socket, bytes_.get() + end_, capacity_ - end_, 0); });
    if (count > 0) end_ += static_cast<std::size_t>(count);
    return count;
  }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t capacity_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace web
