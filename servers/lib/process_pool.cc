#include "lib/process_pool.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "lib/check.h"
#include "lib/child.h"
#include "lib/server.h"

namespace {

/// A worker that has lived for less is not replaced at once: what ended it will end the next one too.
constexpr std::chrono::seconds kShortLife{1};

void wait_for(const SignalPipe& signals, int timeout) {
  pollfd watched{signals.fd(), POLLIN, 0};
  check("poll", uninterrupted([&] { return poll(&watched, 1, timeout); }));
}

}  // namespace

ProcessPool::ProcessPool(int workers, std::function<int()> work, std::chrono::milliseconds grace)
    : signals_{SIGTERM, SIGINT, SIGCHLD, SIGUSR1},
      wanted_(static_cast<std::size_t>(workers)),
      work_(std::move(work)),
      grace_(grace) {}

void ProcessPool::run(const std::function<void()>& report) {
  while (true) {
    start_missing();
    wait_for(signals_, poll_timeout());
    const std::set<int> signals = signals_.take();
    if (signals.contains(SIGCHLD)) reap();
    if (signals.contains(SIGUSR1)) report();
    if (signals.contains(SIGTERM) || signals.contains(SIGINT)) return;
  }
}

void ProcessPool::start_missing() {
  while (workers_.size() < wanted_ && Clock::now() >= not_before_) {
    try {
      const pid_t pid = fork_child([this, parent = getpid()] {
        std::signal(SIGUSR1, SIG_IGN);
        end_with_parent(parent, SIGTERM);
        return work_();
      });
      workers_.emplace(pid, Clock::now());
    } catch (const std::system_error& error) {
      log_line(error.what());
      not_before_ = Clock::now() + kShortLife;
    }
  }
}

int ProcessPool::poll_timeout() const {
  if (workers_.size() == wanted_) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(not_before_ - Clock::now());
  return static_cast<int>(std::max(left.count(), std::chrono::milliseconds::rep{0}));
}

void ProcessPool::reap() {
  while (const auto ended = reap_one()) {
    const auto found = workers_.find(ended->pid);
    if (found == workers_.end()) continue;
    const std::string how = WIFSIGNALED(ended->status)
                                ? "was killed by signal " + std::to_string(WTERMSIG(ended->status))
                                : "ended with " + std::to_string(WEXITSTATUS(ended->status));
    log_line("worker " + std::to_string(ended->pid) + " " + how);
    if (Clock::now() - found->second < kShortLife) not_before_ = Clock::now() + kShortLife;
    workers_.erase(found);
  }
}

// NOLINTNEXTLINE(bugprone-exception-escape): if poll(2) fails here, workers cannot be ended, and this process must.
ProcessPool::~ProcessPool() {
  for (const auto& [pid, since] : workers_) kill(pid, SIGTERM);
  const Clock::time_point deadline = Clock::now() + grace_;
  while (!workers_.empty()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() > 0) {
      wait_for(signals_, static_cast<int>(left.count()));
    } else {
      for (const auto& [pid, since] : workers_) kill(pid, SIGKILL);
      wait_for(signals_, 1000);
    }
    static_cast<void>(signals_.take());
    while (const auto ended = reap_one()) workers_.erase(ended->pid);
  }
}
