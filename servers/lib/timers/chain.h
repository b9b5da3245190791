/// A doubly linked chain of timers.
#pragma once

#include "lib/timers/timers.h"

/// A ring that begins and ends in a timer of its own, so that nothing is a special case.
class Chain {
 public:
  Chain() { ring_.previous = ring_.next = &ring_; }
  ~Chain() = default;
  Chain(const Chain&) = delete;
  Chain& operator=(const Chain&) = delete;
  Chain(Chain&&) = delete;
  Chain& operator=(Chain&&) = delete;

  [[nodiscard]] bool empty() const { return ring_.next == &ring_; }
  [[nodiscard]] Timer* first() const { return ring_.next; }
  [[nodiscard]] Timer* last() const { return ring_.previous; }

  /// What stands behind the last timer and before the first.
  [[nodiscard]] Timer* end() { return &ring_; }
  [[nodiscard]] const Timer* end() const { return &ring_; }

  static void insert_behind(Timer* place, Timer& timer) {
    timer.previous = place;
    timer.next = place->next;
    place->next->previous = &timer;
    place->next = &timer;
  }

  /// It need not be known which chain it is in.
  static void remove(Timer& timer) {
    timer.previous->next = timer.next;
    timer.next->previous = timer.previous;
    timer.previous = timer.next = nullptr;
  }

 private:
  Timer ring_;
};
