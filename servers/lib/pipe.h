/// pipe(7) with an owner.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "lib/fd.h"

/// Both ends of a pipe: the kernel's buffer between descriptors, which splice(2) and tee(2) move pages through.
struct Pipe {
  Fd reader;
  Fd writer;
};

/// Return a pipe that closes on exec; nothing, with errno, if there is none to be had.
///
/// @param flags for pipe2(2), O_NONBLOCK say
inline std::optional<Pipe> open_pipe(int flags = 0) {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), flags | O_CLOEXEC) < 0) return std::nullopt;
  return Pipe{Fd(ends[0]), Fd(ends[1])};
}
