// Load balancer for TCP connections: the book's springsnail.
//
// A pool of processes shares one listening socket. Each is an event loop (balancer/worker.h) that connects a client to
// the backend with the fewest connections and relays, by splice(2) where it is much (balancer/relay.h). Which backends
// live, and how many connections each has, stands in memory that all share (balancer/scoreboard.h). A backend
// that cannot be connected to is passed over; one more process asks now and then whether it is back
// (balancer/checker.h). This one only looks after the others.
//
// Where it listens stands on the command line, as it cannot change; all else in a file (balancer/config.h) that SIGHUP
// has it read again: new processes serve new clients, the old ones see theirs to the end. SIGUSR1 writes the counters
// to stderr, one JSON object in a line. SIGTERM leaves connections the time of drain-timeout.
//
// Limits: a client sticks to the backend that it was given; there are no weights; HTTP is bytes to it.
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/wait.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <list>
#include <sstream>

#include "balancer/checker.h"
#include "balancer/config.h"
#include "balancer/scoreboard.h"
#include "balancer/worker.h"
#include "lib/check.h"
#include "lib/child.h"
#include "lib/descriptors.h"
#include "lib/finally.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/shared_memory.h"
#include "lib/signal_pipe.h"

namespace {

constexpr std::chrono::seconds kBetweenReplacements{1};  // so that a process that ends at once does not become a loop

BalancerConfig read_config(const std::string& path) {
  std::ifstream file(path);
  file.peek();  // a folder can be opened, and not read; that a file is empty is no error yet
  if (!file.is_open() || file.bad()) throw std::runtime_error(path + ": " + std::generic_category().message(errno));
  std::stringstream text;
  text << file.rdbuf();
  try {
    return parse_config(text.str());
  } catch (const ConfigError& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
}

/// The processes of one configuration: the workers by their numbers, and the checker after them.
struct Generation {
  Generation(BalancerConfig read, std::size_t workers)
      : config(std::move(read)), scoreboard(config, workers), processes(workers + 1) {}

  BalancerConfig config;
  Scoreboard scoreboard;
  std::vector<pid_t> processes;  // 0 where one has ended
  bool stopping = false;
};

class Master {
 public:
  Master(Options options, std::string path)
      : options_(std::move(options)), path_(std::move(path)), signals_{SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD} {
    generations_.emplace_back(read_config(path_), workers());
#ifdef MUTANT_BIND_ANY
    options_.host = "0.0.0.0";
#endif
    listener_ = listen_on(options_.address(), options_.backlog, SOCK_NONBLOCK);
    // Connections inherit it: what has come is passed on at once.
    set_option(listener_.get(), IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
  }

  void run() {
    start_missing();
    announce_ready();
    while (!generations_.empty()) {
      pollfd watched{.fd = signals_.fd(), .events = POLLIN, .revents = 0};
      check("poll", uninterrupted([&] { return poll(&watched, 1, is_complete() ? -1 : 100); }));
      const auto signals = signals_.take();
      if (signals.contains(SIGUSR1)) log_line(generations_.back().scoreboard.json(*totals_));
      if (signals.contains(SIGHUP) && !stopping_) reload();
      if (signals.contains(SIGTERM) || signals.contains(SIGINT)) stop();
      reap();
#ifndef MUTANT_NOT_REPLACED
      if (!stopping_ && Clock::now() - replaced_ >= kBetweenReplacements) start_missing();
#endif
    }
  }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] std::size_t workers() const { return static_cast<std::size_t>(options_.workers); }

  /// Whether everything runs that should.
  [[nodiscard]] bool is_complete() const {
    const auto& processes = generations_.back().processes;
    return stopping_ || std::ranges::find(processes, 0) == processes.end();
  }

  void start_missing() {
    Generation& generation = generations_.back();
    for (std::size_t i = 0; i < generation.processes.size(); ++i) {
      if (generation.processes[i] != 0) continue;
      replaced_ = Clock::now();
#ifdef MUTANT_FORK_IS_FATAL
      generation.processes[i] = start(generation, i);
#else
      try {
        generation.processes[i] = start(generation, i);
      } catch (const std::system_error& error) {  // there may be processes again in a while
        log_line(std::string("balancer: ") + error.what());
        return;
      }
#endif
    }
  }

  /// Start a worker, or the checker. SIGHUP and SIGUSR1, which may be sent to all, are nothing to them: they stay
  /// blocked.
  pid_t start(const Generation& generation, std::size_t index) {
    sigset_t mine;
    sigset_t before;
    sigemptyset(&mine);
    sigaddset(&mine, SIGHUP);
    sigaddset(&mine, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mine, &before);
    const Finally restore([&] { pthread_sigmask(SIG_SETMASK, &before, nullptr); });
    const pid_t parent = getpid();
    return fork_child([&] {
      end_with_parent(parent);
      if (index == workers()) {
        listener_.reset();
        check_backends(generation.config, generation.scoreboard);
      } else {
        const Service service{generation.config, generation.scoreboard, *totals_,
                              workers(),         descriptors_,          options_.idle_timeout};
        Worker(service, index, std::move(listener_)).run();
      }
      return 0;
    });
  }

  /// Take note of all processes that have ended.
  void reap() {
    while (const auto ended = reap_one())
      for (Generation& generation : generations_) {
        const auto found = std::ranges::find(generation.processes, ended->pid);
        if (found == generation.processes.end()) continue;
        *found = 0;
        const auto index = static_cast<std::size_t>(found - generation.processes.begin());
        if (index < workers()) generation.scoreboard.forget(index);
        if (!generation.stopping) log_line("balancer: process " + std::to_string(ended->pid) + " has ended: a new one");
      }
    generations_.remove_if([](const Generation& generation) {
      return generation.stopping && std::ranges::all_of(generation.processes, [](pid_t pid) { return pid == 0; });
    });
  }

  void reload() {
    try {
#ifdef MUTANT_OLD_CONFIG
      BalancerConfig config = generations_.back().config;
#else
      BalancerConfig config = read_config(path_);
#endif
      Generation& before = generations_.back();
      generations_.emplace_back(std::move(config), workers());
      tell(before, SIGUSR2);
      start_missing();
      log_line("balancer: " + path_ + " is read");
    } catch (const std::runtime_error& error) {
      log_line(std::string("balancer: the configuration stays as it was: ") + error.what());
    }
  }

  void stop() {
    stopping_ = true;
    listener_.reset();
    for (Generation& generation : generations_) tell(generation, SIGTERM);
  }

  static void tell(Generation& generation, int signal) {
    generation.stopping = true;
    for (const pid_t pid : generation.processes)
      if (pid != 0) check("kill", kill(pid, signal));
  }

  Options options_;
  std::string path_;
  SignalPipe signals_;
  Fd listener_;
  Shared<Totals> totals_;
  std::size_t descriptors_ = raise_descriptor_limit();
  std::list<Generation> generations_;  // the last is the one that serves new clients
  bool stopping_ = false;
  Clock::time_point replaced_;
};

void serve(int argc, char** argv) {
  Options options;
  std::string path;
  parse(argc, argv, "load balancer for TCP connections", options,
        {{"--config", "FILE", "backends and limits; see balancer/config.h", &path}});
  if (path.empty()) throw UsageError("--config FILE is missing: it names the backends");
  Master(options, path).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
