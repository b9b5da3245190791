// A thread of its own for signals: all others block them, and it waits for them with sigwait(3). Book 14.8.3.
//
// The mask is set before the first thread is started, and every thread inherits it. A signal to the process can then be
// taken by one thread only, at a point of its choosing, where it may lock, print and allocate, as in any other code and
// unlike in a handler. A signal to one thread (tgkill(2)) is that thread's: if it is blocked there, it stays pending.
//
// Limits: signals of one number count once while they are pending; only the process's own blocking is meant, and
// SIGKILL and SIGSTOP cannot be blocked.
#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <latch>
#include <memory>
#include <semaphore>
#include <stop_token>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "lib/check.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/stream.h"

namespace {

void print(const std::string& line) { write_all(STDOUT_FILENO, line + "\n"); }

/// Take signals until one says to end.
void take_signals(const sigset_t& signals) {
  pthread_setname_np(pthread_self(), "signals");
  while (true) {
    int signal = 0;
    check_result("sigwait", sigwait(&signals, &signal));
    print(std::string("thread ") + std::to_string(gettid()) + " has SIG" + sigabbrev_np(signal));
    if (signal == SIGTERM || signal == SIGINT) return;
  }
}

void work(const std::stop_token& stop, long number) {
  pthread_setname_np(pthread_self(), ("worker-" + std::to_string(number)).c_str());
  print("worker " + std::to_string(number));
  std::binary_semaphore end(0);
  const std::stop_callback on_stop(stop, [&] { end.release(); });
  end.acquire();
}

/// Start so many threads; all of them begin when all of them are there.
std::vector<std::jthread> start_workers(long count) {
  auto begin = std::make_shared<std::latch>(count + 1);
  std::vector<std::jthread> workers;
  try {
    for (long i = 1; i <= count; ++i) {
#ifdef MUTANT_STACK_ADDRESS
      workers.emplace_back([begin, number = &i](const std::stop_token& stop) {
        begin->arrive_and_wait();
        work(stop, *number);
      });
#else
      // The number is copied: `i` has another value soon, and then is no more.
      workers.emplace_back([begin, number = i](const std::stop_token& stop) {
        begin->arrive_and_wait();
        work(stop, number);
      });
#endif
    }
  } catch (const std::system_error&) {  // no more threads to be had: those that there are begin, to be told to stop
    begin->count_down(count + 1 - std::ssize(workers));
    throw;
  }
  begin->arrive_and_wait();
  return workers;
}

void run_threads(int argc, char** argv) {
  std::string count = "3";
  parse(argc, argv, "one thread takes all signals", {{"--workers", "N", "other threads (default: 3)", &count}});
  const long workers_wanted = number("--workers", count, 0, 1024);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) sigaddset(&signals, signal);

#ifdef MUTANT_MASK_LATE
  const auto workers = start_workers(workers_wanted);
  check_result("pthread_sigmask", pthread_sigmask(SIG_BLOCK, &signals, nullptr));
#else
  check_result("pthread_sigmask", pthread_sigmask(SIG_BLOCK, &signals, nullptr));
  const auto workers = start_workers(workers_wanted);
#endif
  std::jthread([&] { take_signals(signals); }).join();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { run_threads(argc, argv); });
}
