/// A thread of the web server: an event loop over its share of the connections.
#pragma once

#include <array>
#include <chrono>
#include <functional>
#include <list>
#include <vector>

#include "lib/epoll.h"
#include "web/connection.h"

namespace web {

/// What all workers share. The listener is one for all: who is free accepts (EPOLLEXCLUSIVE wakes one of them).
struct Shared {
  const Settings& settings;
  const http::Root& root;
  int listener;    ///< non-blocking
  int stop;        ///< becomes readable when the server is to stop, and stays so
  int access_log;  ///< -1 for none
};

/// Owns its connections; nothing of them is shared with other threads but the counters.
class Worker {
 public:
  Worker(const Shared& shared, Counters& counters);

  /// Serve until told to stop, and then until what is under way has ended, or the time for that is over.
  ///
  /// @param accepts_no_more called once, after the last connection was accepted
  void run(const std::function<void()>& accepts_no_more);

 private:
  using Clock = std::chrono::steady_clock;
  using Phase = Connection::Phase;

  struct Client {
    Client(Fd socket, Context& context, Clock::time_point now) : connection(std::move(socket), context), since(now) {}

    Connection connection;
    Clock::time_point since;   // it is in its phase, or has got on in it
    std::uint32_t events = 0;  // that are watched
  };
  using Clients = std::list<Client>;

  void handle(const epoll_event& event);
  bool accept_some();
  void take(Fd socket);
  void listen(bool on);
  void place(Clients::iterator client, Phase before);
  void watch(Client& client, std::uint32_t events);
  void begin_to_drain();
  void expire();
  void flush_log();
  [[nodiscard]] std::chrono::milliseconds patience() const;
  [[nodiscard]] bool is_done() const;
  [[nodiscard]] bool is_full() const;
  Clients& in_phase(Phase phase) { return phases_.at(static_cast<std::size_t>(phase)); }

  const Shared& shared_;
  Context context_;
  Epoll epoll_;
  // A list for each phase. All in it have the same patience and stand in the order of `since`, so that whose time is
  // over stands in front: to look for them costs nothing, however many connections there are.
  std::array<Clients, 4> phases_;
  std::array<std::chrono::milliseconds, 4> timeouts_;
  std::vector<Clients::iterator> by_fd_;
  Clock::time_point now_ = Clock::now();
  Clock::time_point accept_again_ = Clock::time_point::max();
  Clock::time_point drained_at_latest_ = Clock::time_point::max();
  Clock::time_point log_at_latest_ = Clock::time_point::max();
  std::size_t open_ = 0;
  bool listening_ = false;
  bool stop_seen_ = false;
};

}  // namespace web
