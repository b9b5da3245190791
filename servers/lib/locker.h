/// Semaphore, mutex and condition with owners: the three ways in which threads wait for each other (book 14.7).
///
/// Unlike the standard library's they are thin: each method is one POSIX call, whose failure is an exception.
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <cerrno>
#include <chrono>
#include <ctime>

#include "lib/check.h"

/// Counts what is free.
class Semaphore {
 public:
  explicit Semaphore(unsigned free) { check("sem_init", sem_init(&semaphore_, 0, free)); }
  ~Semaphore() { sem_destroy(&semaphore_); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  Semaphore(Semaphore&&) = delete;
  Semaphore& operator=(Semaphore&&) = delete;

  /// Take one, waiting for it if need be.
  void wait() {
    check("sem_wait", uninterrupted([&] { return sem_wait(&semaphore_); }));
  }
  /// Give one back.
  void post() { check("sem_post", sem_post(&semaphore_)); }

 private:
  sem_t semaphore_{};
};

/// Held by one thread at a time; one that wants it twice is told (EDEADLK), instead of waiting for itself.
class Mutex {
 public:
  Mutex() {
    pthread_mutexattr_t attributes;
    check_result("pthread_mutexattr_init", pthread_mutexattr_init(&attributes));
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    const int error = pthread_mutex_init(&mutex_, &attributes);
    pthread_mutexattr_destroy(&attributes);
    check_result("pthread_mutex_init", error);
  }
  ~Mutex() { pthread_mutex_destroy(&mutex_); }
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  Mutex(Mutex&&) = delete;
  Mutex& operator=(Mutex&&) = delete;

  // The names that std::scoped_lock and std::unique_lock call.
  void lock() { check_result("pthread_mutex_lock", pthread_mutex_lock(&mutex_)); }
  void unlock() { check_result("pthread_mutex_unlock", pthread_mutex_unlock(&mutex_)); }

  [[nodiscard]] pthread_mutex_t* get() { return &mutex_; }

 private:
  pthread_mutex_t mutex_{};
};

/// Something that a thread may wait for, under a mutex that guards what it is about.
class Condition {
 public:
  Condition() {
    pthread_condattr_t attributes;
    check_result("pthread_condattr_init", pthread_condattr_init(&attributes));
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);  // the time of day may be set back
    const int error = pthread_cond_init(&condition_, &attributes);
    pthread_condattr_destroy(&attributes);
    check_result("pthread_cond_init", error);
  }
  ~Condition() { pthread_cond_destroy(&condition_); }
  Condition(const Condition&) = delete;
  Condition& operator=(const Condition&) = delete;
  Condition(Condition&&) = delete;
  Condition& operator=(Condition&&) = delete;

  /// Wait until `holds` is true. It is asked with the mutex held, first of all before waiting: a notice that came
  /// earlier has gone unheard, and one that comes may be meant for somebody else or for nobody.
  template <typename Predicate>
  void wait(Mutex& held, Predicate holds) {
    while (!holds()) check_result("pthread_cond_wait", pthread_cond_wait(&condition_, held.get()));
  }

  /// The same, for so long at most; whether `holds` was true at last.
  template <typename Predicate>
  bool wait_for(Mutex& held, std::chrono::nanoseconds timeout, Predicate holds) {
    timespec deadline{};
    check("clock_gettime", clock_gettime(CLOCK_MONOTONIC, &deadline));
    const auto end = std::chrono::seconds{deadline.tv_sec} + std::chrono::nanoseconds{deadline.tv_nsec} + timeout;
    deadline.tv_sec = std::chrono::duration_cast<std::chrono::seconds>(end).count();
    deadline.tv_nsec = (end % std::chrono::seconds{1}).count();
    while (!holds()) {
      const int error = pthread_cond_timedwait(&condition_, held.get(), &deadline);
      if (error == ETIMEDOUT) return holds();
      check_result("pthread_cond_timedwait", error);
    }
    return true;
  }

  void notify_one() { check_result("pthread_cond_signal", pthread_cond_signal(&condition_)); }
  void notify_all() { check_result("pthread_cond_broadcast", pthread_cond_broadcast(&condition_)); }

 private:
  pthread_cond_t condition_{};
};
