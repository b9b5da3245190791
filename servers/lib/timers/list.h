/// Timers in a sorted list. Book 11.2.
#pragma once

#include "lib/timers/chain.h"

/// Cancelling and expiring take constant time, adding time in proportion to the timers that are due later.
///
/// The place is looked for from the end: where all timers run equally long, as for idle connections, it is the end.
class TimerList final : public Timers {
 public:
  void add(Timer& timer, Clock::time_point due) override {
    timer.due = due;
    Timer* place = chain_.last();
    while (place != chain_.end() && place->due > due) place = place->previous;
    Chain::insert_behind(place, timer);
  }

  void cancel(Timer& timer) override { Chain::remove(timer); }

  Timer* pop_due(Clock::time_point now) override {
    Timer* const timer = chain_.first();
    if (chain_.empty() || timer->due > now) return nullptr;
    Chain::remove(*timer);
    return timer;
  }

  [[nodiscard]] std::optional<Clock::time_point> next_look() const override {
    if (chain_.empty()) return std::nullopt;
    return chain_.first()->due;
  }

 private:
  Chain chain_;
};
