// Echo server with a process per connection, and none of them left a zombie. Book 13.3.
//
// The kernel keeps one SIGCHLD pending, however many children end meanwhile: the signal says "some have ended", never
// how many. So each is answered by waitpid(2) until nobody is left to be reaped. Parent and child each close what is
// the other's: a connection ends for its client when the last copy is closed, and a port is free when nobody listens.
//
// Limits: a process for each connection, --most of them; more wait in the backlog.
#include <poll.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <set>
#include <system_error>

#include "lib/accept.h"
#include "lib/check.h"
#include "lib/child.h"
#include "lib/drain.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"
#include "lib/stream.h"

namespace {

constexpr int kBlocking = 0;  // a flag for sockets: a child has nothing else to do than to wait

/// What a child does: send back until the client has sent all or is gone, or the parent says to end.
int echo(int socket) {
  const SignalPipe signals{SIGTERM, SIGINT};
  std::array<char, 16'384> buffer{};
  while (true) {
    std::array<pollfd, 2> watched{{{signals.fd(), POLLIN, 0}, {socket, POLLIN, 0}}};
    check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), -1); }));
    // What has arrived is still read and sent back; then comes the end, as if the client had sent it.
#ifdef MUTANT_REAPER_NO_DRAIN
    if (!signals.take().empty()) return 0;
#else
    if (!signals.take().empty()) shutdown(socket, SHUT_RD);
#endif
    if (watched[1].revents == 0) continue;
    const ssize_t count = uninterrupted([&] { return read(socket, buffer.data(), buffer.size()); });
    if (count <= 0 || !write_all(socket, {buffer.data(), static_cast<std::size_t>(count)})) return 0;
  }
}

class Reaper {
 public:
  Reaper(const Options& options, std::size_t most)
      : listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)), most_(most) {
    announce_ready();
  }

  void run() {
    bool is_refused = false;
    while (!drain_.over(!children_.empty())) {
      const bool has_room = children_.size() < most_ && !is_refused;
      std::array<pollfd, 2> watched{{{signals_.fd(), POLLIN, 0}, {has_room ? listener_.get() : -1, POLLIN, 0}}};
      const bool looks_around = is_refused || drain_.begun();
      const int timeout = looks_around ? static_cast<int>(kAcceptPause.count()) : -1;
      check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), timeout); }));
      const std::set<int> signals = signals_.take();
      if (signals.contains(SIGCHLD)) reap();
      if (signals.contains(SIGTERM) || signals.contains(SIGINT)) end();
      is_refused = watched[1].revents != 0 && listener_ && !accept_one();
    }
    for (const pid_t child : children_) kill(child, SIGKILL);  // whose clients have not taken what is theirs in time
    for (const pid_t child : children_) check("waitpid", uninterrupted([&] { return waitpid(child, nullptr, 0); }));
  }

 private:
  /// False if there is no descriptor or no process to be had now; the connection waits, or is closed.
  bool accept_one() {
    Fd socket;
    const Accepted accepted = ::accept_one(listener_.get(), socket, nullptr, kBlocking);
    if (accepted != Accepted::kTaken) return accepted == Accepted::kNobody;
    try {
      children_.insert(fork_child([&] {
#ifndef MUTANT_LISTENER_LEAK
        listener_.reset();
#endif
        return echo(socket.get());
      }));
    } catch (const std::system_error& error) {
      log_line(error.what());
      return false;
    }
#ifdef MUTANT_FD_LEAK
    [[maybe_unused]] const int leaked = socket.release();
#endif
    return true;  // and the parent's copy of the connection is closed
  }

  void reap() {
    while (const auto ended = reap_one()) {
      children_.erase(ended->pid);
      if (WIFSIGNALED(ended->status)) log_line("child killed by signal " + std::to_string(WTERMSIG(ended->status)));
#ifdef MUTANT_ZOMBIES
      return;
#endif
    }
  }

  void end() {
    drain_.begin();
    listener_.reset();
    for (const pid_t child : children_) kill(child, SIGTERM);
  }

  SignalPipe signals_{SIGTERM, SIGINT, SIGCHLD};
  Fd listener_;
  std::size_t most_;
  std::set<pid_t> children_;
  Drain drain_;
};

void serve(int argc, char** argv) {
  Options options;
  std::string most = "256";
  parse(argc, argv, "echo server with a process per connection", options,
        {{"--most", "N", "connections at a time (default: 256)", &most}});
  Reaper(options, static_cast<std::size_t>(number("--most", most, 1, 100'000))).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
