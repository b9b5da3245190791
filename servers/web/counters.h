/// What a worker has done, told to whoever sends SIGUSR1.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace web {

/// Numbers that one worker writes and another thread may read; each on its own is exact, and nothing hangs on their
/// order, so they are relaxed. On a cache line of its own: workers do not wait for each other to count.
struct alignas(64) Counters {
  using Counter = std::atomic<std::uint64_t>;
  Counter accepted{0};
  Counter open{0};
  Counter requests{0};
  Counter informed{0};  ///< answers 2xx and 3xx
  Counter refused{0};   ///< answers 4xx
  Counter failed{0};    ///< answers 5xx
  Counter timeouts{0};  ///< connections closed because nothing happened for too long
  Counter broken{0};    ///< connections that ended while an answer was on its way
  Counter sent{0};      ///< bytes
  Counter unlogged{0};  ///< requests whose lines could not be written to the access log

  static void add(Counter& counter, std::uint64_t count = 1) { counter.fetch_add(count, std::memory_order_relaxed); }
};

/// Return the sums over all workers as a JSON object in one line.
std::string as_json(const std::vector<Counters>& workers);

}  // namespace web
