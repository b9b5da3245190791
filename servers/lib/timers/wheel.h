/// Timers in a wheel. Book 11.4.1.
#pragma once

#include <algorithm>
#include <vector>

#include "lib/timers/chain.h"

/// Everything takes constant time, at the price of a coarser clock.
///
/// The wheel has a slot for each tick and goes round. A timer stands in the slot of the tick at which it is due, and
/// stays there when the wheel passes if that is a round too early.
class TimerWheel final : public Timers {
 public:
  /// A timer comes up to one `interval` late.
  explicit TimerWheel(Clock::duration interval = std::chrono::milliseconds{10}, std::size_t slots = 1024)
      : interval_(interval), start_(Clock::now()), slots_(slots) {}

  void add(Timer& timer, Clock::time_point due) override {
    timer.due = due;
    // The first tick that is not before its time; what is due already comes with the next.
    timer.tick = std::max(ticks(due - start_ + interval_ - Clock::duration{1}), passed_ + 1);
    Chain& slot = slot_of(timer.tick);
    Chain::insert_behind(slot.last(), timer);
    ++count_;
  }

  void cancel(Timer& timer) override {
    Chain::remove(timer);
    --count_;
  }

  Timer* pop_due(Clock::time_point now) override {
    if (due_.empty()) turn_to(ticks(now - start_));
    if (due_.empty()) return nullptr;
    Timer* const timer = due_.first();
    cancel(*timer);
    return timer;
  }

  /// The next tick whose slot has any timers, be it of a later round.
  [[nodiscard]] std::optional<Clock::time_point> next_look() const override {
    if (count_ == 0) return std::nullopt;
    if (!due_.empty()) return due_.first()->due;
    std::int64_t tick = passed_ + 1;
    while (slot_of(tick).empty()) ++tick;
    return start_ + tick * interval_;
  }

 private:
  [[nodiscard]] std::int64_t ticks(Clock::duration time) const { return time / interval_; }
  [[nodiscard]] Chain& slot_of(std::int64_t tick) { return slots_[static_cast<std::size_t>(tick) % slots_.size()]; }
  [[nodiscard]] const Chain& slot_of(std::int64_t tick) const {
    return slots_[static_cast<std::size_t>(tick) % slots_.size()];
  }

  /// Pass all ticks up to this one; each slot once, however long nobody asked.
  void turn_to(std::int64_t tick) {
    const std::int64_t first = std::max(passed_ + 1, tick - static_cast<std::int64_t>(slots_.size()) + 1);
    for (std::int64_t passing = first; passing <= tick; ++passing) take_due(slot_of(passing), tick);
    passed_ = std::max(passed_, tick);
  }

  void take_due(Chain& slot, std::int64_t tick) {
    for (Timer* timer = slot.first(); timer != slot.end();) {
      Timer* const next = timer->next;
#ifdef MUTANT_ROUNDS_IGNORED
      const bool is_due = tick > 0;
#else
      const bool is_due = timer->tick <= tick;
#endif
      if (is_due) {
        Chain::remove(*timer);
        Chain::insert_behind(due_.last(), *timer);
      }
      timer = next;
    }
  }

  const Clock::duration interval_;
  const Clock::time_point start_;
  std::vector<Chain> slots_;
  Chain due_;  // passed and not popped yet
  std::int64_t passed_ = 0;
  std::size_t count_ = 0;
};
