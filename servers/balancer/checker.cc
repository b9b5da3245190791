#include "balancer/checker.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <csignal>

#include "lib/check.h"
#include "lib/fd.h"
#include "lib/pending_error.h"
#include "lib/signal_pipe.h"

namespace {

using Clock = std::chrono::steady_clock;

/// Connections on their way, one per backend, and the pipe of signals in the last place.
class Round {
 public:
  Round(const BalancerConfig& config, const Scoreboard& scoreboard, int signals) : scoreboard_(scoreboard) {
    for (std::size_t backend = 0; backend < config.backends.size(); ++backend) {
      sockets_.push_back(begin(backend, config.backends[backend]));
      watched_.push_back({sockets_.back().get(), POLLOUT, 0});
    }
    watched_.push_back({signals, POLLIN, 0});
  }

  /// Wait until all have answered or the time is over; false if a signal came.
  bool finish(Clock::time_point end) {
    while (waiting_ > 0 && poll_until(end)) {
      if (watched_.back().revents != 0) return false;
      for (std::size_t backend = 0; backend < sockets_.size(); ++backend)
        if (watched_[backend].revents != 0) judge(backend);
    }
    for (std::size_t backend = 0; backend < sockets_.size(); ++backend)
      if (sockets_[backend]) scoreboard_.mark(backend, false, "it does not answer");
    sockets_.clear();
    watched_.erase(watched_.begin(), watched_.end() - 1);
    return true;
  }

  /// Wait for the time to be over; false if a signal came.
  bool rest(Clock::time_point end) { return !poll_until(end); }

 private:
  Fd begin(std::size_t backend, const Address& address) {
    Fd socket(check("socket", ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
    if (connect(socket.get(), address.get(), address.size()) < 0 && errno != EINPROGRESS) {
      scoreboard_.mark(backend, false, std::generic_category().message(errno));
      return {};
    }
    ++waiting_;
    return socket;
  }

  void judge(std::size_t backend) {
    const int error = pending_error(sockets_[backend].get());
    scoreboard_.mark(backend, error == 0, std::generic_category().message(error));
    sockets_[backend].reset();
    watched_[backend].fd = -1;
    --waiting_;
  }

  bool poll_until(Clock::time_point end) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    const int count = uninterrupted(
        [&] { return poll(watched_.data(), watched_.size(), static_cast<int>(std::max<decltype(left)>(left, 0))); });
    return check("poll", count) > 0;
  }

  const Scoreboard& scoreboard_;
  std::vector<Fd> sockets_;
  std::vector<pollfd> watched_;
  std::size_t waiting_ = 0;
};

}  // namespace

void check_backends(const BalancerConfig& config, const Scoreboard& scoreboard) {
  const SignalPipe signals{SIGTERM, SIGINT, SIGUSR2};
  while (true) {
    const auto begin = Clock::now();
    Round round(config, scoreboard, signals.fd());
    if (!round.finish(begin + config.connect_timeout) || !round.rest(begin + config.check_interval)) return;
  }
}
