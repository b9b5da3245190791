// Echo server over a thread pool: one thread waits for events, the pool's threads read and write. Book 15.5.
//
// A connection belongs to one thread at a time. EPOLLONESHOT sees to it: an event takes the connection out of epoll
// until whoever handles it puts it back. So workers need no lock for it, and only they close it: if the main thread did
// so as well, the number might be another client's connection by the time the worker reads from it.
//
// Limits: a switch of threads for each event. It pays where handling takes longer than that, unlike here.
#ifdef MUTANT_WORKER_WAITS
#include <poll.h>
#endif

#include <chrono>
#include <csignal>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "lib/accept.h"
#include "lib/drain.h"
#include "lib/echo_connection.h"
#include "lib/epoll.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"
#include "lib/thread_pool.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMost = 10'000;  // connections, and thereby jobs that wait: each has one at most

/// All connections, by descriptor; every thread may use it.
class Connections {
 public:
  void add(std::shared_ptr<EchoConnection> connection) {
    const std::scoped_lock lock(mutex_);
    const int fd = connection->fd();
    by_fd_.insert_or_assign(fd, std::move(connection));
  }
  std::shared_ptr<EchoConnection> find(int fd) {
    const std::scoped_lock lock(mutex_);
    const auto found = by_fd_.find(fd);
    return found == by_fd_.end() ? nullptr : found->second;
  }
  /// Put it back into epoll: from here on another thread may have it. It gets it from `find`, so that by this lock it
  /// sees all that was written before; the kernel's own order is none that the language knows of.
  void give_back(const EchoConnection& connection, Epoll& epoll, std::uint32_t events) {
    const std::scoped_lock lock(mutex_);
    epoll.modify(connection.fd(), events);
  }
  /// Forget it; it is closed when the caller's pointer to it goes, and its number is free only then.
  void remove(int fd) {
    const std::scoped_lock lock(mutex_);
    by_fd_.erase(fd);
  }
  std::size_t size() {
    const std::scoped_lock lock(mutex_);
    return by_fd_.size();
  }
  /// See EchoConnection::end_input.
  void end_input() {
    const std::scoped_lock lock(mutex_);
    for (const auto& [fd, connection] : by_fd_) connection->end_input();
  }

 private:
  std::mutex mutex_;
  std::unordered_map<int, std::shared_ptr<EchoConnection>> by_fd_;
};

class Server {
 public:
  explicit Server(const Options& options)
      : listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)), pool_(options.workers, kMost) {
    epoll_.add(signals_.fd(), EPOLLIN);
    epoll_.add(listener_.get(), EPOLLIN);
    announce_ready();
  }

  void run() {
    while (!drain_.over(connections_.size() > 0)) {
      const bool looks_around = !is_listening_ || drain_.begun();
      const auto events = epoll_.wait(looks_around ? kAcceptPause : std::chrono::milliseconds{-1});
      if (!is_listening_ && Clock::now() >= listen_again_) listen(connections_.size() < kMost);
      for (const epoll_event& event : events) {
        if (event.data.fd == signals_.fd()) {
          end();
        } else if (event.data.fd == listener_.get()) {
          listen(accept());
        } else {
          hand_over(event);
        }
      }
    }
  }

 private:
  void end() {
    static_cast<void>(signals_.take());
    drain_.begin();
    listener_.reset();
    connections_.end_input();
  }

  void hand_over(const epoll_event& event) {
#ifdef MUTANT_WORKER_CLOSE
    if ((event.events & EPOLLRDHUP) != 0) close(event.data.fd);
#endif
    auto connection = connections_.find(event.data.fd);
    if (connection == nullptr) return;  // the listener, which is closed since this event
    if (!pool_.submit([this, connection = std::move(connection)] { handle(*connection); }))
      connections_.remove(event.data.fd);  // more than a burst of accepts allows for: it is closed
  }

  /// In a thread of the pool.
  void handle(EchoConnection& connection) {
    if (connection.serve() == EchoConnection::Progress::ended) {
      connections_.remove(connection.fd());
    } else {
#ifdef MUTANT_WORKER_WAITS
      pollfd client{connection.fd(), POLLOUT, 0};
      while (connection.owes() && poll(&client, 1, -1) == 1 && connection.serve() != EchoConnection::Progress::ended) {
      }
#endif
      connections_.give_back(connection, epoll_, events_for(connection));
    }
  }

  static std::uint32_t events_for(const EchoConnection& connection) {
    const std::uint32_t events = EPOLLONESHOT | (connection.owes() ? EPOLLOUT : EPOLLIN);
#ifdef MUTANT_WORKER_CLOSE
    return events | EPOLLRDHUP;
#else
    return events;
#endif
  }

  /// Take all connections that wait; false if there is no room for more now.
  bool accept() {
    const bool has_room = accept_all(listener_.get(), [this](Fd socket) {
      const auto connection = std::make_shared<EchoConnection>(std::move(socket));
      connections_.add(connection);
      epoll_.add(connection->fd(), events_for(*connection));
    });
    return has_room && connections_.size() < kMost;
  }

  void listen(bool wanted) {
    if (!listener_) return;
    if (wanted != is_listening_) epoll_.modify(listener_.get(), wanted ? EPOLLIN : 0U);
    is_listening_ = wanted;
    if (!wanted) listen_again_ = Clock::now() + kAcceptPause;
  }

  SignalPipe signals_{SIGTERM, SIGINT};
  Fd listener_;
  Epoll epoll_;
  Connections connections_;
  bool is_listening_ = true;
  Clock::time_point listen_again_;
  Drain drain_;
  ThreadPool pool_;  // last: its threads end before what they use
};

void serve(int argc, char** argv) {
  Options options;
  options.workers = 4;
  parse(argc, argv, "echo server over a thread pool", options);
  Server(options).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
