/// How a server ends: nothing new is taken, and what has arrived is still answered, for a limited time.
#pragma once

#include <chrono>

/// The time that a server has left when it has been told to end; it has all the time before.
class Drain {
 public:
  /// From now on the time is limited; calling it again changes nothing.
  void begin() {
    if (begun_) return;
    begun_ = true;
    deadline_ = std::chrono::steady_clock::now() + kGrace;
  }

  [[nodiscard]] bool begun() const { return begun_; }

  /// Whether the server should end: it was told to, and has no connection left or no time.
  [[nodiscard]] bool over(bool has_connections) const {
    return begun_ && (!has_connections || std::chrono::steady_clock::now() >= deadline_);
  }

 private:
  static constexpr std::chrono::seconds kGrace{2};

  bool begun_ = false;
  std::chrono::steady_clock::time_point deadline_;
};
