/// A worker process of the balancer: accepts clients, connects each to a backend, and relays.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "balancer/config.h"
#include "balancer/relay.h"
#include "balancer/scoreboard.h"
#include "lib/deadlines.h"
#include "lib/epoll.h"
#include "lib/fd.h"
#include "lib/signal_pipe.h"

/// What all workers of one configuration have in common.
struct Service {
  const BalancerConfig& config;
  const Scoreboard& scoreboard;
  Totals& totals;
  std::size_t workers;
  std::size_t descriptors;  ///< that each of them may have open
  std::chrono::milliseconds idle_timeout;
};

/// One thread, edge-triggered epoll, any number of connections.
class Worker {
 public:
  /// Takes the listening socket, which other processes have as well.
  Worker(const Service& service, std::size_t index, Fd listener);

  /// Serve until a signal says to accept no more, and then until the connections that there are have ended.
  ///
  /// SIGTERM and SIGINT leave them the time of `drain_timeout`, SIGUSR2 as much as they want.
  void run();

 private:
  using Clock = std::chrono::steady_clock;

  /// A client's connection and the one to its backend.
  struct Session {
    Fd client;
    Fd server;
    Address peer;
    Relay up;    // from client to server
    Relay down;  // and back
    std::size_t index = 0;
    std::size_t backend = 0;
    std::vector<bool> tried;
    bool connected = false;
    bool has_more_to_do = false;
    Clock::time_point begin;
    Deadlines<Session>* deadlines = nullptr;
    Deadlines<Session>::Place place;
  };

  void listen_again(bool wanted);
  bool accept_clients();
  void begin_session(Fd client, const Address& peer);
  void stop(bool soon);
  void handle(const epoll_event& event);
  static void note(Session& session, bool is_client, std::uint32_t events);
  void connect_next(Session& session);
  bool connect_to_backend(Session& session);
  void finish_connect(Session& session);
  void backend_failed(Session& session, const std::string& why);
  void retry(Session& session);
  void relay(Session& session);
  void judge(Session& session, Relay::Outcome up, Relay::Outcome down);
  void expire();
  void fail(Session& session, const char* how);
  void end(Session& session, const char* how);
  void detach(Session& session);
  void give_up(Fd socket);
  void wait_in(Session& session, Deadlines<Session>& deadlines);
  [[nodiscard]] Session* session_of(int fd) const;
  void watch(int fd, Session& session);
  void log(const Session& session, const char* how) const;
  [[nodiscard]] std::chrono::milliseconds pause() const;
  [[nodiscard]] bool is_over() const;
  [[nodiscard]] bool is_full() const;

  const Service& service_;
  std::size_t index_;
  std::size_t most_;  // connections
  Fd listener_;
  SignalPipe signals_;
  Epoll epoll_;
  Pipes pipes_;
  bool listening_ = false;
  bool stopping_ = false;
  Clock::time_point now_ = Clock::now();
  Clock::time_point accept_from_;  // after there were no descriptors left
  Clock::time_point stop_by_ = Clock::time_point::max();
  Deadlines<Session> connecting_;
  Deadlines<Session> idle_;
  std::vector<std::unique_ptr<Session>> sessions_;
  std::vector<Session*> by_fd_;
  std::vector<Session*> with_more_to_do_;
  // What has ended stays until all events of a turn are seen, so that none of them meets a successor by its number.
  std::vector<std::unique_ptr<Session>> ended_;
  std::vector<Fd> closing_;
};
