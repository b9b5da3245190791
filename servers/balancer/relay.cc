#include "balancer/relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "lib/check.h"

namespace {

constexpr int kPipeSize = 1 << 18;
constexpr int kShare = 32;                 // pieces that one direction may move, in or out, while others wait
constexpr std::size_t kSmallPiece = 8192;  // fits the smallest pipe that there is, when a user has too many

}  // namespace

std::optional<Pipe> Pipes::take() {
  if (spare_.empty()) {
    std::optional<Pipe> pipe = open_pipe(O_NONBLOCK);
    // More in one go; where a user's pipes have reached their limit it stays as it is, which is only slower.
    if (pipe) fcntl(pipe->writer.get(), F_SETPIPE_SZ, kPipeSize);
    return pipe;
  }
  Pipe pipe = std::move(spare_.back());
  spare_.pop_back();
  return pipe;
}

Relay::Outcome Relay::pump(int source, int target, Pipes& pipes) {
  if (finished_) return broken_ ? Outcome::SourceFailed : Outcome::Finished;
  std::optional<Outcome> outcome;
  for (int i = 0; i < kShare && !outcome; ++i) outcome = step(source, target, pipes);
  if (held_ == 0 && pipe_) {
    pipes.give(std::move(*pipe_));
    pipe_.reset();
  }
  return outcome.value_or(Outcome::MoreToDo);
}

/// Move one piece in or out; an outcome means that there is nothing to go on with.
std::optional<Relay::Outcome> Relay::step(int source, int target, Pipes& pipes) {
  if (held_ > 0) return drain(target);
  if (ended_) {  // a FIN is passed on as a FIN: the other direction goes on
    if (shutdown(target, SHUT_WR) < 0) return Outcome::TargetFailed;
    finished_ = true;
    return Outcome::Finished;
  }
  if (!readable_) return Outcome::Waiting;
  return bulky_ ? fill(source, pipes) : copy(source, target, pipes);
}

/// Pass on a small piece with read and write: two system calls, where splice takes three.
std::optional<Relay::Outcome> Relay::copy(int source, int target, Pipes& pipes) {
  std::array<char, kSmallPiece> buffer;  // NOLINT(*-member-init): it is written before it is read
  const ssize_t count = uninterrupted([&] { return read(source, buffer.data(), buffer.size()); });
  if (count <= 0) return see_end(count);
  const auto size = static_cast<std::size_t>(count);
  bulky_ = size == buffer.size();
  // A short read has found all that there was, and what comes later is an event; but an end that has been told already
  // is still to be read.
  if (!bulky_) readable_ = ending_;
  const ssize_t sent = writable_ ? uninterrupted([&] { return write(target, buffer.data(), size); }) : 0;
  const bool failed = sent < 0 && !would_block();
  const auto passed = static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
  bytes_ += passed;
  if (passed < size && !hold({buffer.data() + passed, size - passed}, pipes)) return Outcome::NoPipe;
  return failed ? std::optional(Outcome::TargetFailed) : std::nullopt;
}

/// Keep in the pipe what the target does not take now, or never: then it is for another.
bool Relay::hold(std::string_view rest, Pipes& pipes) {
  if (!pipe_ && !(pipe_ = pipes.take())) return false;
  const ssize_t count = uninterrupted([&] { return write(pipe_->writer.get(), rest.data(), rest.size()); });
  held_ = rest.size();
  return count == static_cast<ssize_t>(rest.size());
}

/// Move what the source has into the empty pipe, where it is much.
///
/// That less came than was asked for does not mean that there is no more: a pipe has room for so many pieces, however
/// small they are. So it is read until it says EAGAIN.
std::optional<Relay::Outcome> Relay::fill(int source, Pipes& pipes) {
  if (!pipe_ && !(pipe_ = pipes.take())) return Outcome::NoPipe;
  const ssize_t count = uninterrupted([&] {
    return splice(source, nullptr, pipe_->writer.get(), nullptr, kPipeSize, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
  });
  if (count <= 0) return see_end(count);
  held_ = static_cast<std::size_t>(count);
  return std::nullopt;
}

/// Make of a read that brought nothing what it means.
std::optional<Relay::Outcome> Relay::see_end(ssize_t count) {
  if (count < 0 && would_block()) {
    readable_ = false;
    bulky_ = false;
    return Outcome::Waiting;
  }
  if (count < 0 || broken_) return Outcome::SourceFailed;
  ended_ = true;
  return std::nullopt;
}

std::optional<Relay::Outcome> Relay::drain(int target) {
  if (!writable_) return Outcome::Waiting;
  const ssize_t count = uninterrupted(
      [&] { return splice(pipe_->reader.get(), nullptr, target, nullptr, held_, SPLICE_F_NONBLOCK | SPLICE_F_MOVE); });
  if (count < 0 && !would_block()) return Outcome::TargetFailed;
#ifdef MUTANT_BLOCKS
  if (count < 0) {
    pollfd slow{.fd = target, .events = POLLOUT, .revents = 0};
    poll(&slow, 1, -1);
    return std::nullopt;
  }
#endif
  if (count < 0) {
    writable_ = false;
    return Outcome::Waiting;
  }
  held_ -= static_cast<std::size_t>(count);
  bytes_ += static_cast<std::uint64_t>(count);
  return std::nullopt;
}
