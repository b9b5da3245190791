// Producers and consumers around a buffer of few places, with the semaphore, mutex and condition of lib/locker.h.
// Book 14.7.
//
// The semaphore counts free places, so that producers wait when there are none; the mutex guards the buffer; and
// consumers wait for the condition "there is something, or nothing will come any more". Every number from 1 to
// --items is made once and taken once: the sum says whether that held.
#include <atomic>
#include <deque>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "lib/finally.h"
#include "lib/locker.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/stream.h"

namespace {

constexpr unsigned kPlaces = 8;

class Buffer {
 public:
  void put(long item) {
    free_.wait();
    const std::scoped_lock lock(mutex_);
    items_.push_back(item);
    changed_.notify_one();
  }

  /// Add the next item to what was taken; false when all producers have ended and nothing is left.
  bool take() {
    long item = 0;
    {
      const std::scoped_lock lock(mutex_);
      changed_.wait(mutex_, [&] { return !items_.empty() || ended_; });
      if (items_.empty()) return false;
      item = items_.front();
      items_.pop_front();
#ifndef MUTANT_RACE
      add(item);
#endif
    }
#ifdef MUTANT_RACE
    add(item);
#endif
    free_.post();
    return true;
  }

  void end() {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  [[nodiscard]] long sum() const { return sum_; }

 private:
  void add(long item) {
    const long before = sum_;
#ifdef MUTANT_RACE
    std::this_thread::yield();
#endif
    sum_ = before + item;
  }

  Semaphore free_{kPlaces};
  Mutex mutex_;
  Condition changed_;
  std::deque<long> items_;
  long sum_ = 0;
  bool ended_ = false;
};

/// Return how a mutex refuses to be locked twice by one thread.
std::string refusal() {
  Mutex mutex;
  const std::scoped_lock lock(mutex);
  try {
    mutex.lock();
  } catch (const std::system_error& error) {
    return error.what();
  }
  return "none";
}

/// Exchange items up to `last`, and return when all are taken.
///
/// Whether the scope is left as it should be or because there are no more threads to be had, it is in this order: the
/// producers come to their end, the consumers are told so, and come to theirs.
void exchange_all(Buffer& buffer, long last, long count) {
  std::atomic<long> next{1};
  std::vector<std::jthread> consumers;
  const Finally tell([&] { buffer.end(); });
  std::vector<std::jthread> producers;
  for (long i = 0; i < count; ++i) {
    consumers.emplace_back([&] {
      while (buffer.take()) {
      }
    });
    producers.emplace_back([&] {
      for (long item = next++; item <= last; item = next++) buffer.put(item);
    });
  }
}

void exchange(int argc, char** argv) {
  std::string threads = "4";
  std::string items = "10000";
  parse(argc, argv, "producers and consumers around a buffer of few places",
        {{"--workers", "N", "producers, and as many consumers (default: 4)", &threads},
         {"--items", "N", "how many there are in all (default: 10000)", &items}});
  const long count = number("--workers", threads, 1, 256);
  const long last = number("--items", items, 1, 100'000'000);
  Buffer buffer;
  exchange_all(buffer, last, count);
  write_all(STDOUT_FILENO, "sum " + std::to_string(buffer.sum()) + "\nlocked twice: " + refusal() + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { exchange(argc, argv); });
}
