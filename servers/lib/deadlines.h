/// Deadlines that are all as far away: a list in which the first is always the next (book 11.2, 11.3).
#pragma once

#include <algorithm>
#include <chrono>
#include <list>
#include <utility>

/// Who waits for something, and until when; everybody may wait for the same span.
///
/// As the span is the same for all, whoever begins last is due last: adding, renewing and removing take constant time
/// and no sorted structure. The caller gives the time, so that one look at the clock serves many.
template <typename T>
class Deadlines {
 public:
  using Clock = std::chrono::steady_clock;
  using Place = typename std::list<std::pair<Clock::time_point, T*>>::iterator;

  explicit Deadlines(Clock::duration span) : span_(span) {}

  /// Let `who` wait from `begin` on, which is no earlier than anybody else's. Borrows it.
  Place add(T* who, Clock::time_point begin) { return waiting_.emplace(waiting_.end(), begin + span_, who); }

  /// Let it wait anew; its place stays valid.
  void renew(Place place, Clock::time_point begin) {
    place->first = begin + span_;
    waiting_.splice(waiting_.end(), waiting_, place);
  }

  void remove(Place place) { waiting_.erase(place); }

  /// Return the first whose time is over, or nullptr; it stays in the list until it is removed.
  [[nodiscard]] T* expired(Clock::time_point now) const {
    return waiting_.empty() || waiting_.front().first > now ? nullptr : waiting_.front().second;
  }

  /// Return how long nobody's time is over, at most `longest`, rounded up to what poll and epoll take.
  [[nodiscard]] std::chrono::milliseconds until_next(Clock::time_point now, std::chrono::milliseconds longest) const {
    if (waiting_.empty()) return longest;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(waiting_.front().first - now);
    return std::max(std::chrono::milliseconds{0}, std::min(left, longest));
  }

 private:
  Clock::duration span_;
  std::list<std::pair<Clock::time_point, T*>> waiting_;
};
