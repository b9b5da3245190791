// CGI server: programs below a folder answer HTTP requests, each in a process of its own. Book 15.4.
//
// A pool of worker processes (lib/process_pool.h) shares one listening socket. A worker waits for all it has in one
// poll(2): clients, the pipes from and to their programs, and signals; nothing in it blocks (cgi/connection.h). What a
// program may do is bounded: which files it can be (cgi/script.h), how many run at a time, how long, and what it leaves
// running. SIGTERM lets those that run come to their end; SIGUSR1 writes the counters.
//
// Limits: one request per connection. A program that leaves its process group is out of reach, and so are those of a
// worker that is killed with SIGKILL. Who may write below the root may run anything: it is looked at before it is run.
#include <poll.h>
#include <sys/socket.h>

#include <csignal>
#include <filesystem>
#include <list>
#include <string>

#include "cgi/connection.h"
#include "cgi/script.h"
#include "cgi/settings.h"
#include "lib/accept.h"
#include "lib/check.h"
#include "lib/options.h"
#include "lib/process_pool.h"
#include "lib/server.h"
#include "lib/shared_memory.h"
#include "lib/signal_pipe.h"

namespace {

using cgi::Clock;

/// All that one process of the pool does.
class Worker {
 public:
  Worker(Fd& listener, const cgi::Settings& settings, cgi::Counters& counters, std::size_t most)
      : listener_(listener), settings_(settings), counters_(counters), most_(most), scripts_(settings, counters) {}

  /// Serve until SIGTERM, and then until all that has begun is done.
  int work() {
    std::vector<pollfd> watched;
    while (listener_ || !connections_.empty() || !scripts_.empty()) {
#ifdef MUTANT_CGI_NO_ROOM
      const bool has_room = !is_refused_;
#else
      const bool has_room = connections_.size() < most_ && !is_refused_;
#endif
      watched = {{signals_.fd(), POLLIN, 0}, {has_room ? listener_.get() : -1, POLLIN, 0}};
      for (const auto& connection : connections_) connection.watch(watched);
      check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), timeout()); }));
      const Clock::time_point now = Clock::now();
      take_signals();
      scripts_.expire(now);
      serve_all(watched, now);
      is_refused_ = false;
      if (watched[1].revents != 0 && listener_) accept_one();
      if (is_ending_) end();
    }
    return 0;
  }

 private:
  void take_signals() {
    const std::set<int> signals = signals_.take();
    if (signals.contains(SIGCHLD)) scripts_.reap();
    if (!signals.contains(SIGTERM) && !signals.contains(SIGINT)) return;
#ifdef MUTANT_CGI_NO_DRAIN
    connections_.clear();
#endif
    is_ending_ = true;
  }

  /// Take no more connections, but for those that wait already, and let those go that ask for nothing.
  void end() {
    while (listener_ && connections_.size() < most_ && accept_one()) connections_.back().serve(Clock::now(), 0);
    listener_.reset();
    connections_.remove_if([](const cgi::Connection& connection) { return connection.is_idle(); });
  }

  void serve_all(const std::vector<pollfd>& watched, Clock::time_point now) {
    std::size_t place = 2;
    for (auto connection = connections_.begin(); connection != connections_.end();) {
      bool has_more = true;
      if (now >= connection->deadline() || has_event(watched, place))
        has_more = connection->serve(now, watched[place].revents);
      place += cgi::Connection::kWatched;
      connection = has_more ? std::next(connection) : connections_.erase(connection);
    }
  }

  static bool has_event(const std::vector<pollfd>& watched, std::size_t place) {
    for (std::size_t i = 0; i < cgi::Connection::kWatched; ++i)
      if (watched[place + i].revents != 0) return true;
    return false;
  }

  /// Accept one only, and leave the next to a worker that has time; false if there is none, or no room for it.
  bool accept_one() {
    Address client;
    Fd socket;
    const Accepted accepted = ::accept_one(listener_.get(), socket, &client);
    is_refused_ = accepted == Accepted::kFull;
    if (accepted != Accepted::kTaken) return false;
    connections_.emplace_back(std::move(socket), client, settings_, counters_, scripts_);
    return true;
  }

  /// How long poll may wait, in milliseconds.
  [[nodiscard]] int timeout() const {
    Clock::time_point next = scripts_.next_deadline();
    for (const auto& connection : connections_) next = std::min(next, connection.deadline());
    if (is_refused_) next = std::min(next, Clock::now() + kAcceptPause);
    if (next == Clock::time_point::max()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - Clock::now()).count();
    return static_cast<int>(std::clamp<long>(left, 0, 3'600'000));
  }

  SignalPipe signals_{SIGTERM, SIGINT, SIGCHLD};
  Fd& listener_;
  const cgi::Settings& settings_;
  cgi::Counters& counters_;
  std::size_t most_;
  cgi::Scripts scripts_;
  std::list<cgi::Connection> connections_;  // behind the scripts, which they end when they go
  bool is_ending_ = false;
  bool is_refused_ = false;  // at the limit of descriptors
};

/// Write the counters as one line of JSON.
void report(const cgi::Counters& counters) {
  const std::pair<const char*, const std::atomic<std::uint64_t>&> all[] = {
      {"connections", counters.connections}, {"requests", counters.requests},   {"scripts", counters.scripts},
      {"timeouts", counters.timeouts},       {"successes", counters.successes}, {"refusals", counters.refusals},
      {"failures", counters.failures}};
  std::string line;
  for (const auto& [name, count] : all)
    line += (line.empty() ? "{\"" : ", \"") + std::string(name) + "\": " + std::to_string(count.load());
  log_line(line + "}");
}

void serve(int argc, char** argv) {
  Options options;
  options.workers = 2;
  std::string time_limit = "30";
  std::string body = "1048576";
  std::string head = "16384";
  std::string scripts = "32";
  std::string connections = "256";
  parse(argc, argv, "CGI server: programs below --root answer HTTP requests", options,
        {{"--time-limit", "S", "seconds that a program may take (default: 30)", &time_limit},
         {"--most-scripts", "N", "programs at a time, per worker; 503 beyond (default: 32)", &scripts},
         {"--most-connections", "N", "connections at a time, per worker; more wait (default: 256)", &connections},
         {"--most-head", "BYTES", "of a request; 431 beyond (default: 16384)", &head},
         {"--most-body", "BYTES", "of a request; 413 beyond (default: 1048576)", &body}});
  const http::Root root(options.root);
  http::Limits limits;
  limits.head = static_cast<std::size_t>(number("--most-head", head, 64, 32'768));
  limits.body = static_cast<std::uint64_t>(number("--most-body", body, 0, 1'000'000'000'000));
#ifdef MUTANT_CGI_NO_LIMITS
  limits.body = UINT64_MAX;
#endif
  const cgi::Settings settings{root,
                               std::filesystem::canonical(options.root),
                               options.port,
                               limits,
                               options.idle_timeout,
                               seconds("--time-limit", time_limit),
                               static_cast<std::size_t>(number("--most-scripts", scripts, 1, 10'000))};
  const auto most = static_cast<std::size_t>(number("--most-connections", connections, 1, 10'000));
  const Shared<cgi::Counters> counters;
  Fd listener;
  ProcessPool pool(
      options.workers, [&] { return Worker(listener, settings, *counters, most).work(); },
      settings.time_limit + settings.idle_timeout);
  listener = listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
  announce_ready();
  pool.run([&] { report(*counters); });
  listener.reset();  // the last copy of it is a worker's, who takes those that wait
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
