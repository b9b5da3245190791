// Processes that take turns by a System V semaphore, to count in memory that they share. Book 13.5.
//
// Each visit reads the counter, lets others run, and writes one more: without the semaphore most visits would be lost.
// The semaphore is taken with SEM_UNDO, so that the kernel gives back what a killed process holds. It lives in the
// kernel until somebody removes it (ipcs -s shows it): this program does so on every way out that it can take.
//
// Limits: nothing can remove it after a SIGKILL; ipcrm(1) does.
#include <poll.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/sem.h>
#include <sys/wait.h>

#include <csignal>
#include <set>
#include <string>

#include "lib/check.h"
#include "lib/child.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/shared_memory.h"
#include "lib/signal_pipe.h"
#include "lib/stream.h"

namespace {

/// A System V semaphore of the program's own, removed at the end.
class Semaphore {
 public:
  explicit Semaphore(int free) : id_(check("semget", semget(IPC_PRIVATE, 1, 0600))) { change(free, 0); }
  ~Semaphore() {
#ifndef MUTANT_SEM_LEFT
    semctl(id_, 0, IPC_RMID);
#endif
  }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;
  Semaphore(Semaphore&&) = delete;
  Semaphore& operator=(Semaphore&&) = delete;

  [[nodiscard]] int id() const { return id_; }
#ifdef MUTANT_NO_UNDO
  void take() const { change(-1, 0); }
  void give() const { change(1, 0); }
#else
  void take() const { change(-1, SEM_UNDO); }
  void give() const { change(1, SEM_UNDO); }
#endif

 private:
  void change(int by, int flags) const {
    sembuf operation{0, static_cast<short>(by), static_cast<short>(flags)};
    check("semop", uninterrupted([&] { return semop(id_, &operation, 1); }));
  }

  int id_;
};

/// What the processes share. It is plain on purpose: nothing but the semaphore keeps them apart.
struct Counter {
  volatile long visits;
};

/// Visit so many times, or for ever if `rounds` is 0.
int visit([[maybe_unused]] const Semaphore& semaphore, Counter& counter, long rounds) {
  for (long round = 0; rounds == 0 || round < rounds; ++round) {
#ifndef MUTANT_SEM_FORGOTTEN
    semaphore.take();
#endif
    const long before = counter.visits;
    sched_yield();
    counter.visits = before + 1;
#ifndef MUTANT_SEM_FORGOTTEN
    semaphore.give();
#endif
  }
  return 0;
}

/// Wait until all children have ended, or a signal says not to.
void supervise(const SignalPipe& signals, std::set<pid_t>& children) {
  while (!children.empty()) {
    pollfd watched{signals.fd(), POLLIN, 0};
    check("poll", uninterrupted([&] { return poll(&watched, 1, -1); }));
    const std::set<int> came = signals.take();
    while (const auto ended = reap_one()) children.erase(ended->pid);
    if (came.contains(SIGTERM) || came.contains(SIGINT)) return;
  }
}

void count(int argc, char** argv) {
  std::string workers = "4";
  std::string rounds = "1000";
  parse(argc, argv, "processes that take turns by a System V semaphore",
        {{"--workers", "N", "processes (default: 4)", &workers},
         {"--rounds", "N", "visits of each; 0: until SIGTERM (default: 1000)", &rounds}});
  const long wanted = number("--rounds", rounds, 0, 1'000'000'000);
  const SignalPipe signals{SIGTERM, SIGINT, SIGCHLD};
  const Semaphore semaphore(1);
  const Shared<Counter> counter;
  const pid_t parent = getpid();
  write_all(STDOUT_FILENO, "semaphore " + std::to_string(semaphore.id()) + "\n");

  std::set<pid_t> children;
  for (long i = number("--workers", workers, 1, 1024); i > 0; --i)
    children.insert(fork_child([&] {
      end_with_parent(parent);
      return visit(semaphore, *counter, wanted);
    }));
  supervise(signals, children);
  for (const pid_t child : children) kill(child, SIGKILL);
  for (const pid_t child : children) check("waitpid", uninterrupted([&] { return waitpid(child, nullptr, 0); }));
  write_all(STDOUT_FILENO, "visits " + std::to_string(counter->visits) + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { count(argc, argv); });
}
