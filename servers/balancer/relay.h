/// One direction of a relayed connection: what is much goes from socket to socket through a pipe (book 6.6), and its
/// bytes are never copied.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/pipe.h"

/// Pipes for splice(2), kept for use by whoever has bytes on the way.
///
/// A connection that waits has none: its descriptors are its two sockets.
class Pipes {
 public:
  /// Return an empty pipe; nothing at the limit of descriptors.
  std::optional<Pipe> take();

  /// Take back a pipe, which is empty again.
  void give(Pipe pipe) { spare_.push_back(std::move(pipe)); }

 private:
  std::vector<Pipe> spare_;
};

/// One direction, from what a socket receives to what another sends, its end (FIN) included.
///
/// For edge-triggered epoll: it remembers what may be possible until the kernel says that it is not.
class Relay {
 public:
  enum class Outcome {
    Waiting,       ///< for an event of either socket
    MoreToDo,      ///< it has had its share, and is to be called again
    Finished,      ///< all is passed on, the end as well
    SourceFailed,  ///< the socket that it reads from is broken
    TargetFailed,  ///< the socket that it writes to is broken
    NoPipe,        ///< the process has no descriptors left
  };

  /// An event has said so.
  void source_is_readable() { readable_ = true; }
  void source_is_ending() { readable_ = ending_ = true; }
  void source_is_broken() { readable_ = ending_ = broken_ = true; }
  void target_is_writable() { writable_ = true; }

  /// Move what can be moved without waiting.
  Outcome pump(int source, int target, Pipes& pipes);

  /// Send to a new target from now on what the source says, including an end that it has said already.
  void retarget() { finished_ = false; }

  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  [[nodiscard]] bool finished() const { return finished_; }

 private:
  std::optional<Outcome> step(int source, int target, Pipes& pipes);
  std::optional<Outcome> copy(int source, int target, Pipes& pipes);
  bool hold(std::string_view rest, Pipes& pipes);
  std::optional<Outcome> fill(int source, Pipes& pipes);
  std::optional<Outcome> see_end(ssize_t count);
  std::optional<Outcome> drain(int target);

  std::optional<Pipe> pipe_;
  std::size_t held_ = 0;  // bytes in the pipe
  std::uint64_t bytes_ = 0;
  bool bulky_ = false;  // the source sends much: pages are moved rather than bytes copied
  bool readable_ = false;
  bool ending_ = false;  // an end or an error of the source has been told
  bool writable_ = false;
  bool broken_ = false;  // the source was reset; an error is told once, and after it a read finds a mere end
  bool ended_ = false;   // the source has said its last
  bool finished_ = false;
};
