/// A connection of an echo server: what all of them do when the kernel says that something can be done.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <utility>

#include "lib/check.h"
#include "lib/fd.h"

/// A non-blocking connection, and what it has sent and not yet got back.
///
/// It is read only while nothing waits to be written. So a peer that sends without reading fills the kernel's buffers,
/// then its own, and never this program's memory. An idle connection has no buffer at all.
class EchoConnection {
 public:
  enum class Progress {
    moved,    ///< there may be more to do at once
    blocked,  ///< nothing can be done until the kernel says so
    ended     ///< the peer has ended its side and has got everything, or it is gone
  };

  explicit EchoConnection(Fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }

  /// Whether something waits to be written: watch for that only while it does, or the kernel reports it for ever.
  [[nodiscard]] bool owes() const { return !waiting_.empty(); }

  /// Send what waits or, when nothing does, receive; one step.
  Progress serve() { return owes() ? pass_on(std::exchange(waiting_, {})) : receive(); }

  /// Let the end of the input come after what has arrived so far, as if the peer had ended its side now.
  ///
  /// The connection ends then by itself, when everything is answered. A peer that is gone already needs no more.
  void end_input() const { shutdown(fd(), SHUT_RD); }

 private:
  static constexpr std::size_t kReadSize = 16'384;

  Progress receive() {
    std::array<char, kReadSize> buffer;
    const ssize_t count = uninterrupted([&] { return read(fd(), buffer.data(), buffer.size()); });
    if (count < 0) return would_block() ? Progress::blocked : Progress::ended;
    if (count == 0) return Progress::ended;
    return pass_on({buffer.data(), static_cast<std::size_t>(count)});
  }

  /// Write what can be written and keep the rest.
  Progress pass_on(std::string_view data) {
    const ssize_t count = uninterrupted([&] { return write(fd(), data.data(), data.size()); });
    if (count < 0 && !would_block()) return Progress::ended;
#ifdef MUTANT_SHORT_WRITE
    return Progress::moved;
#endif
    waiting_ = data.substr(static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
    return owes() ? Progress::blocked : Progress::moved;
  }

  Fd socket_;
  std::string waiting_;
};
