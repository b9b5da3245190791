// fork(2) while another thread holds a lock: in the child it stays locked for ever. Book 14.8.2.
//
// The child has a copy of all memory, of the lock in its locked state too, but one thread only: that which forked. The
// one that would unlock does not exist there. With --atfork the handlers of pthread_atfork(3) see to it: the lock is
// taken before the fork, so that nobody else can hold it, and given back on both sides.
//
// Limits: handlers must be there for every lock, those of libraries as well. A child that calls execve(2) at once, or
// is forked before the first thread starts, needs none.
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

#include <csignal>
#include <latch>
#include <mutex>
#include <semaphore>
#include <stop_token>
#include <string>
#include <thread>

#include "lib/check.h"
#include "lib/child.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"
#include "lib/stream.h"

namespace {

/// Global, as pthread_atfork's handlers take no arguments.
std::mutex& shared_lock() {
  static std::mutex lock;
  return lock;
}

void prepare() { shared_lock().lock(); }
void unlock() { shared_lock().unlock(); }

void install_handlers() {
#ifdef MUTANT_ATFORK_CHILD
  check_result("pthread_atfork", pthread_atfork(prepare, unlock, nullptr));
#else
  check_result("pthread_atfork", pthread_atfork(prepare, unlock, unlock));
#endif
}

int use_lock() {
  const std::scoped_lock lock(shared_lock());
  return write_all(STDOUT_FILENO, "the child has the lock\n") ? 0 : 1;
}

/// Wait until the child has ended; on SIGTERM end it.
void await(const SignalPipe& signals, pid_t child) {
  pollfd watched{signals.fd(), POLLIN, 0};
  check("poll", uninterrupted([&] { return poll(&watched, 1, -1); }));
  if (!signals.take().contains(SIGCHLD)) kill(child, SIGKILL);
  check("waitpid", uninterrupted([&] { return waitpid(child, nullptr, 0); }));
}

void fork_locked(int argc, char** argv) {
  std::string atfork;
  parse(argc, argv, "fork while another thread holds a lock that the child needs",
        {{"--atfork", "", "with handlers that keep the lock usable", &atfork}});
  const SignalPipe signals{SIGTERM, SIGINT, SIGCHLD};
  if (!atfork.empty()) install_handlers();

  std::latch held(1);
  std::jthread holder([&](const std::stop_token& stop) {
    const std::scoped_lock lock(shared_lock());
    held.count_down();
    std::binary_semaphore end(0);
    const std::stop_callback on_stop(stop, [&] { end.release(); });
    end.acquire();
  });
  held.wait();
  // The handlers wait for the lock, so its holder has to come to its end by itself.
  if (!atfork.empty()) holder.request_stop();
  const pid_t parent = getpid();
  const pid_t child = fork_child([&] {
    end_with_parent(parent);
    return use_lock();
  });
  if (atfork.empty()) holder.request_stop();
  holder.join();
  write_all(STDOUT_FILENO, "the parent has forked " + std::to_string(child) + "\n");
  await(signals, child);
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { fork_locked(argc, argv); });
}
