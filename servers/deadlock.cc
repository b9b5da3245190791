// Two threads and two locks, taken in opposite order: each waits for what the other holds, for ever. Book 14.5.
//
// With --ordered both take the locks in one order, and all rounds are done. Without it, each waits at a barrier until
// the other has its first lock too, so that the deadlock, elsewhere a matter of luck, is certain. Nothing reports it:
// both threads sleep (state S in /proc/PID/task/*/stat), use no time, and wait in futex(2).
//
// Limits: threads in a deadlock cannot be ended, so on SIGTERM the process leaves without a word to them.
#include <poll.h>
#include <pthread.h>

#include <array>
#include <barrier>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <string>
#include <thread>

#include "lib/check.h"
#include "lib/options.h"
#include "lib/pass_fd.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"
#include "lib/stream.h"

namespace {

constexpr int kRounds = 10'000;

/// What two threads share: two accounts, and money that goes from one to the other and back.
struct Bank {
  std::array<std::mutex, 2> locks;
  std::array<long, 2> money{100, 100};

  void move(std::size_t from) {
    --money[from];
    ++money[1 - from];
  }
};

/// Lock where the money comes from, then where it goes to: the other thread does it the other way round.
void move_deadlocked(Bank& bank, std::size_t from, std::barrier<>& both_have_one) {
  const std::scoped_lock first(bank.locks[from]);
  both_have_one.arrive_and_wait();
  const std::scoped_lock second(bank.locks[1 - from]);
  bank.move(from);
}

/// Lock the accounts by their number, whichever way the money goes.
void move_ordered(Bank& bank, std::size_t from) {
  const std::scoped_lock first(bank.locks[0]);
  const std::scoped_lock second(bank.locks[1]);
  bank.move(from);
}

void run_threads(int argc, char** argv) {
  std::string ordered;
  parse(argc, argv, "two threads and two locks, in opposite order",
        {{"--ordered", "", "take the locks in the same order", &ordered}});
#ifdef MUTANT_LOCK_ORDER
  ordered.clear();
#endif
  const SignalPipe signals{SIGTERM, SIGINT};
  auto [done, tell] = socket_pair();
  Bank bank;
  std::barrier both_have_one(2);
  std::array<std::jthread, 2> threads;
  for (std::size_t i = 0; i < threads.size(); ++i)
    threads[i] = std::jthread([&, i, end = tell.get()] {
      pthread_setname_np(pthread_self(), i == 0 ? "first" : "second");
      if (ordered.empty()) move_deadlocked(bank, i, both_have_one);
      for (int round = 0; round < kRounds && !ordered.empty(); ++round) move_ordered(bank, i);
      send_byte(end, 0);
    });

  for (std::size_t ended = 0; ended < threads.size(); ++ended) {
    std::array<pollfd, 2> watched{{{signals.fd(), POLLIN, 0}, {done.get(), POLLIN, 0}}};
    check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), -1); }));
    if (watched[0].revents != 0) std::_Exit(0);
    static_cast<void>(receive_fd(done.get()));
  }
  write_all(STDOUT_FILENO, "done, " + std::to_string(bank.money[0]) + " and " + std::to_string(bank.money[1]) + "\n");
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { run_threads(argc, argv); });
}
