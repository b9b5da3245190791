/// One thread's share of a load: connections, requests, and what comes of them.
#pragma once

#include <atomic>
#include <chrono>
#include <string>
#include <vector>

#include "lib/address.h"
#include "lib/deadlines.h"
#include "lib/epoll.h"
#include "load_generator/response_parser.h"
#include "load_generator/results.h"

/// What is to be asked, how often, and for how long; the same for all threads.
struct Plan {
  Address target;
  std::string request;     ///< all of its bytes
  bool keep_alive = true;  ///< whether a connection is used again
  std::size_t threads = 1;
  std::size_t connections = 10;
  double rate = 0;  ///< requests per second; 0 for as many as are answered
  std::chrono::nanoseconds duration{};
  std::chrono::nanoseconds timeout{};
};

/// What the threads share while they run.
struct Shared {
  std::atomic<std::int64_t> left;  ///< requests that may still be begun
  std::atomic<bool> stopped;       ///< no more requests, those on their way come to their end
};

/// A closed loop asks again on a connection when it has been answered. An open loop asks at fixed times: a request that
/// finds no free connection waits for one, and its latency begins when it was due, not when it could be sent. Else a
/// server that stalls would keep the generator from asking just when answers are slow, and the slowness would not
/// show: coordinated omission.
class Load {
 public:
  using Clock = std::chrono::steady_clock;

  /// @param index of the thread, from 0
  Load(const Plan& plan, Shared& shared, std::size_t index, Clock::time_point begin);

  /// Return when all that was begun has been answered, or has failed.
  Results run();

 private:
  enum class State { Closed, Connecting, Sending, Receiving, Ending, Idle };

  struct Connection {
    Fd socket;
    State state = State::Closed;
    ResponseParser parser;
    std::size_t sent = 0;
    Clock::time_point due;
    Deadlines<Connection>::Place place;
  };

  [[nodiscard]] bool asks_more() const;
  [[nodiscard]] std::chrono::milliseconds pause() const;
  bool may_begin();
  void begin_requests();
  void begin_due_requests();
  void begin(Connection& connection, Clock::time_point due);
  void connect(Connection& connection);
  void handle(const epoll_event& event);
  void send_rest(Connection& connection);
  void receive(Connection& connection, bool has_ended);
  void take(Connection& connection, std::string_view data, bool has_ended);
  void see_end(Connection& connection);
  void answered(Connection& connection, bool has_ended);
  void fail(Connection& connection, Failure failure);
  void set_free(Connection& connection, bool stays_open);
  void expire();
  void start_timer();

  const Plan& plan_;
  Shared& shared_;
  Clock::time_point begin_;
  std::chrono::nanoseconds interval_{};  // between two requests of an open loop
  std::uint64_t all_due_ = 0;            // requests of an open loop, from begin to end
  std::uint64_t due_ = 0;                // until now
  std::uint64_t begun_ = 0;
  bool exhausted_ = false;
  Fd timer_;
  Epoll epoll_;
  Deadlines<Connection> deadlines_;
  std::vector<Connection> connections_;
  std::vector<Connection*> free_;
  std::vector<Connection*> by_fd_;
  std::size_t busy_ = 0;
  std::vector<char> buffer_;
  Results results_;
};
