/// Processes that do the same work, and one that watches over them (book 15.3).
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <vector>

#include "lib/signal_pipe.h"

/// Starts workers, replaces those that end, and ends them all. To be made before a server listens: from then on signals
/// are taken, and none ends the program unawares.
///
/// What workers share (a listening socket, say) is opened before. Each accepts by itself: the book's parent tells a
/// worker by a pipe to do it, and so has to know which one has time.
class ProcessPool {
 public:
  /// @param work what a worker does, until SIGTERM or SIGINT, and its exit code. SIGUSR1 is ignored in it
  /// @param grace how long workers may take to end before they are killed
  ProcessPool(int workers, std::function<int()> work, std::chrono::milliseconds grace);

  /// Ends the workers with SIGTERM, and returns when none is left.
  ~ProcessPool();  // NOLINT(bugprone-exception-escape): see there

  ProcessPool(const ProcessPool&) = delete;
  ProcessPool& operator=(const ProcessPool&) = delete;
  ProcessPool(ProcessPool&&) = delete;
  ProcessPool& operator=(ProcessPool&&) = delete;

  /// Start the workers and keep them running, until SIGTERM or SIGINT.
  ///
  /// @param report what to do on SIGUSR1
  void run(const std::function<void()>& report);

 private:
  using Clock = std::chrono::steady_clock;

  void start_missing();
  void reap();
  [[nodiscard]] int poll_timeout() const;

  SignalPipe signals_;
  std::size_t wanted_;
  std::function<int()> work_;
  std::chrono::milliseconds grace_;
  std::map<pid_t, Clock::time_point> workers_;  // and when each was started
  Clock::time_point not_before_;                // when the next may be started
};
