// Echo server of several threads that wait on one epoll instance. Book 9.3.4.
//
// With EPOLLONESHOT an event of a connection is given to one thread only, and there is none after it until that thread
// arms the connection again. So the connection belongs to one thread at a time without any lock, and what it sends
// keeps its order. Without, a second thread would be woken as soon as more data comes, and serve it at the same time.
//
// Limits: the table of connections has one lock for all threads; it is held for a look-up only.
#include <poll.h>
#include <sys/eventfd.h>

#include <array>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "lib/accept.h"
#include "lib/drain.h"
#include "lib/echo_connection.h"
#include "lib/epoll.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

using Progress = EchoConnection::Progress;

constexpr int kSteps = 16;  // of a connection in a row; then it is put behind the others
#ifdef MUTANT_NO_ONESHOT
constexpr std::uint32_t kOnce = 0;
#else
constexpr std::uint32_t kOnce = EPOLLONESHOT;
#endif

/// The connections, found and removed under a lock; a connection itself is used by whoever has its event.
class Table {
 public:
  EchoConnection& add(Fd socket) {
    const std::lock_guard lock(mutex_);
    const int fd = socket.get();
    return connections_.emplace(fd, EchoConnection(std::move(socket))).first->second;
  }

  EchoConnection& find(int fd) {
    const std::lock_guard lock(mutex_);
    return connections_.at(fd);
  }

  /// Let epoll give a connection to any thread, with `arm`.
  ///
  /// The lock makes that thread wait in `find` until this is done: only then may it close the descriptor that `arm`
  /// names, and it sees all that was done to the connection before.
  template <typename Arm>
  void hand_over(Arm arm) {
    const std::lock_guard lock(mutex_);
    arm();
  }

  void close(int fd) {
    const std::lock_guard lock(mutex_);
    connections_.erase(fd);
    if (connections_.empty()) empty_.notify_all();
  }

  void end_input() {
    const std::lock_guard lock(mutex_);
    for (const auto& [fd, connection] : connections_) connection.end_input();
  }

  /// Return when there is no connection any more, or the time is over.
  void wait_until_empty(const Drain& drain) {
    std::unique_lock lock(mutex_);
    while (!drain.over(!connections_.empty())) empty_.wait_for(lock, kAcceptPause);
  }

 private:
  std::mutex mutex_;
  std::condition_variable empty_;
  std::unordered_map<int, EchoConnection> connections_;
};

/// Threads that serve the connections of a table.
class Workers {
 public:
  explicit Workers(int count) : stop_(check("eventfd", eventfd(0, EFD_CLOEXEC))) {
    epoll_.add(stop_.get(), EPOLLIN);  // not once: it is for all of them
    try {
      for (int i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
    } catch (...) {  // no more threads to be had: those that there are have to be told
      end();
      throw;
    }
  }

  ~Workers() { end(); }

  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  Workers(Workers&&) = delete;
  Workers& operator=(Workers&&) = delete;

  void add(Fd socket) {
    const int fd = table_.add(std::move(socket)).fd();  // known before its first event can come
    table_.hand_over([&] { epoll_.add(fd, EPOLLIN | kOnce); });
  }

  void drain() {
    Drain drain;
    drain.begin();
    table_.end_input();
    table_.wait_until_empty(drain);
  }

 private:
  void end() {
    eventfd_write(stop_.get(), 1);
    for (std::thread& thread : threads_) thread.join();
  }

  void work() {
    while (true) {
      epoll_event event{};
      check("epoll_wait", uninterrupted([&] { return epoll_wait(epoll_.fd(), &event, 1, -1); }));
      if (event.data.fd == stop_.get()) return;
      serve(event.data.fd);
    }
  }

  void serve(int fd) {
    EchoConnection& connection = table_.find(fd);
    Progress progress = connection.serve();
    for (int step = 1; progress == Progress::moved && step < kSteps; ++step) progress = connection.serve();
    if (progress == Progress::ended) return table_.close(fd);
#ifndef MUTANT_NO_REARM
    const std::uint32_t next = connection.owes() ? EPOLLOUT : EPOLLIN;
    table_.hand_over([&] { epoll_.modify(fd, next | kOnce); });
#endif
  }

  Epoll epoll_;
  Fd stop_;
  Table table_;
  std::vector<std::thread> threads_;
};

void serve(int argc, char** argv) {
  Options options;
  options.workers = 4;
  parse(argc, argv, "echo server of several threads over one epoll(7)", options);
  const SignalPipe signals{SIGTERM, SIGINT};
  Fd listener = listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
  Workers workers(options.workers);
  announce_ready();

  bool has_room = true;
  while (true) {
    std::array<pollfd, 2> watched{{{signals.fd(), POLLIN, 0}, {has_room ? listener.get() : -1, POLLIN, 0}}};
    const int timeout = has_room ? -1 : static_cast<int>(kAcceptPause.count());
    check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), timeout); }));
    if (watched[0].revents != 0) break;
    has_room = accept_all(listener.get(), [&](Fd socket) { workers.add(std::move(socket)); });
  }
  listener.reset();
  workers.drain();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
