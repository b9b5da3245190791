/// What a load came to.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>

#include "lib/histogram.h"

/// Why a request was not answered as it should have been.
enum class Failure {
  Connect,     ///< no connection
  Reset,       ///< the connection was reset
  Timeout,     ///< no whole response in time
  Status,      ///< a whole response, with a status of 400 or more
  Incomplete,  ///< the connection ended before the response did
  Malformed,   ///< what came is no HTTP/1.x, or more than was asked for
};

/// Counters and times of one thread, or of all: `requests` is `latency.count()` and all failures together.
struct Results {
  std::uint64_t requests = 0;
  std::uint64_t connects = 0;
  std::uint64_t bytes = 0;  // received, heads included
  std::array<std::uint64_t, 6> failures{};
  Histogram latency;  // nanoseconds, of requests that were answered well

  void count(Failure failure) { ++failures[static_cast<std::size_t>(failure)]; }
  void merge(const Results& other);

  /// Return all as the members of a JSON object, without its braces; latencies in microseconds.
  [[nodiscard]] std::string json(std::chrono::duration<double> taken) const;
};
