#include "lib/thread_pool.h"

#include <pthread.h>

#include <string>
#include <utility>

ThreadPool::ThreadPool(int threads, std::size_t most) : most_(most) {
  try {
    for (int i = 1; i <= threads; ++i)
      threads_.emplace_back([this, i] {
        pthread_setname_np(pthread_self(), ("worker-" + std::to_string(i)).c_str());
        work();
      });
  } catch (...) {  // no more threads to be had: those that there are wait for jobs, and have to be told
    end();
    throw;
  }
}

ThreadPool::~ThreadPool() { end(); }

bool ThreadPool::submit(Job job) {
  {
    const std::scoped_lock lock(mutex_);
    if (jobs_.size() >= most_) return false;
    jobs_.push_back(std::move(job));
  }
  changed_.notify_one();
  return true;
}

void ThreadPool::work() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
#ifdef MUTANT_POOL_LOST_WAKEUP
      if (!ended_) changed_.wait(lock);
      if (jobs_.empty() && !ended_) continue;
#else
      // A notice is heard by those only who wait at that moment. So the queue is looked at first, each time.
      changed_.wait(lock, [&] { return !jobs_.empty() || ended_; });
#endif
      if (jobs_.empty()) return;
      job = std::move(jobs_.front());
      jobs_.pop_front();
    }
    job();
  }
}

void ThreadPool::end() {
  {
    const std::scoped_lock lock(mutex_);
    ended_ = true;
  }
  changed_.notify_all();
#ifdef MUTANT_DETACHED
  for (std::jthread& thread : threads_) thread.detach();
#endif
  threads_.clear();  // joins them
}
