/// Timers in a binary heap. Book 11.4.2.
#pragma once

#include <vector>

#include "lib/timers/timers.h"

/// Adding, cancelling and expiring take logarithmic time, and the first timer is known at once.
///
/// A timer at place p is due no later than those at 2p + 1 and 2p + 2. Each knows its place, so that it can be
/// cancelled without a search.
class TimerHeap final : public Timers {
 public:
  void add(Timer& timer, Clock::time_point due) override {
    timer.due = due;
    heap_.push_back(&timer);
    rise(heap_.size() - 1);
  }

  void cancel(Timer& timer) override {
    const std::size_t place = timer.place;
    Timer* const last = heap_.back();
    heap_.pop_back();
    if (last == &timer) return;
    put(place, last);
    rise(place);
    sink(last->place);
  }

  Timer* pop_due(Clock::time_point now) override {
    if (heap_.empty() || heap_.front()->due > now) return nullptr;
    Timer* const timer = heap_.front();
    cancel(*timer);
    return timer;
  }

  [[nodiscard]] std::optional<Clock::time_point> next_look() const override {
    if (heap_.empty()) return std::nullopt;
    return heap_.front()->due;
  }

 private:
  void put(std::size_t place, Timer* timer) {
    heap_[place] = timer;
    timer->place = place;
  }

  /// Let the timer at this place change places with those above it that are due later.
  void rise(std::size_t place) {
    Timer* const timer = heap_[place];
    while (place > 0 && timer->due < heap_[(place - 1) / 2]->due) {
      put(place, heap_[(place - 1) / 2]);
      place = (place - 1) / 2;
    }
    put(place, timer);
  }

  /// Let the timer at this place change places with those below it that are due earlier.
  void sink(std::size_t place) {
    Timer* const timer = heap_[place];
    while (2 * place + 1 < heap_.size()) {
      std::size_t below = 2 * place + 1;
      if (below + 1 < heap_.size() && heap_[below + 1]->due < heap_[below]->due) ++below;
      if (timer->due <= heap_[below]->due) break;
      put(place, heap_[below]);
      place = below;
    }
    put(place, timer);
  }

  std::vector<Timer*> heap_;
};
