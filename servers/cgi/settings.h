/// What the CGI server is told, and what it counts.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "http/request_parser.h"
#include "http/root.h"

namespace cgi {

using Clock = std::chrono::steady_clock;

/// What holds for all connections of a worker.
struct Settings {
  const http::Root& root;
  std::string folder;  ///< the root's absolute path
  int port;
  http::Limits limits;
  std::chrono::milliseconds idle_timeout;  ///< for a request's head, and for a client that takes nothing
  std::chrono::milliseconds time_limit;    ///< for a script
  std::size_t most_scripts;                ///< at a time, per worker
};

/// Counted by all workers together, in memory that they share.
struct Counters {
  std::atomic<std::uint64_t> connections;
  std::atomic<std::uint64_t> requests;
  std::atomic<std::uint64_t> scripts;    ///< started
  std::atomic<std::uint64_t> timeouts;   ///< scripts that were killed for the time they took
  std::atomic<std::uint64_t> successes;  ///< answers below 400
  std::atomic<std::uint64_t> refusals;   ///< 4xx
  std::atomic<std::uint64_t> failures;   ///< 5xx
};
static_assert(std::atomic<std::uint64_t>::is_always_lock_free, "or processes could not share them");

}  // namespace cgi
