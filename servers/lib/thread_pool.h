/// A fixed number of threads that do what is put into a queue (book 15.5).
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

/// Threads that live as long as the pool; it is safe to use from any thread.
///
/// The threads belong to the pool and are joined with it: none is detached, so none can run on in memory that is gone.
class ThreadPool {
 public:
  using Job = std::function<void()>;

  /// Start the threads, named "worker-1" and so on.
  ///
  /// @param most how many jobs may wait
  ThreadPool(int threads, std::size_t most);

  /// Do all jobs that wait, and end.
  ~ThreadPool();

  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ThreadPool(ThreadPool&&) = delete;
  ThreadPool& operator=(ThreadPool&&) = delete;

  /// Have one of the threads do `job`; false if too many wait already. An exception out of a job ends the program.
  [[nodiscard]] bool submit(Job job);

 private:
  void work();
  void end();

  std::size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool ended_ = false;
  std::vector<std::jthread> threads_;  // last, so that they start with all else there, and end before it goes
};
