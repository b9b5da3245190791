/// Timers: what the three ways to keep them (book 11.2 and 11.4) have in common.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

using Clock = std::chrono::steady_clock;

/// A timer: a member of what it is for. The set of timers that it is in links it, and allocates nothing for it.
///
/// It must not be moved or destroyed while it is in a set. What is behind the due time belongs to the set.
struct Timer {
  Clock::time_point due;

  Timer* previous = nullptr;
  Timer* next = nullptr;
  std::size_t place = 0;
  std::int64_t tick = 0;
};

/// A set of timers.
class Timers {
 public:
  Timers() = default;
  virtual ~Timers() = default;
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;
  Timers(Timers&&) = delete;
  Timers& operator=(Timers&&) = delete;

  /// Take a timer in; it is in no set so far.
  virtual void add(Timer& timer, Clock::time_point due) = 0;

  /// Take a timer out that is in this set.
  virtual void cancel(Timer& timer) = 0;

  /// Take out and return a timer that is due, never one before its time; nullptr when there is none (any more).
  virtual Timer* pop_due(Clock::time_point now) = 0;

  /// When to ask again: at the time of the first timer, or somewhat before; nothing if there is none.
  [[nodiscard]] virtual std::optional<Clock::time_point> next_look() const = 0;
};
