/// All connections of an echo server with one thread, watched by epoll(7), level-triggered.
#pragma once

#include <unordered_map>
#include <utility>

#include "lib/echo_connection.h"
#include "lib/epoll.h"

/// Echo connections by their descriptors, for programs that show something else than how to echo.
class EchoConnections {
 public:
  /// `epoll` is borrowed.
  explicit EchoConnections(Epoll& epoll) : epoll_(epoll) {}

  void add(Fd socket) {
    const int fd = socket.get();
    epoll_.add(fd, EPOLLIN);
    connections_.emplace(fd, EchoConnection(std::move(socket)));
  }

  /// Do what can be done on a connection; false when it has come to its end and is gone.
  ///
  /// Of an event for a descriptor that was closed earlier in the same turn nothing comes.
  bool serve(int fd) {
    const auto found = connections_.find(fd);
    if (found == connections_.end()) return false;
    EchoConnection& connection = found->second;
    const bool owed = connection.owes();
    if (connection.serve() == EchoConnection::Progress::ended) {
      close(fd);
      return false;
    }
    if (connection.owes() != owed) epoll_.modify(fd, connection.owes() ? EPOLLOUT : EPOLLIN);
    return true;
  }

  void close(int fd) { connections_.erase(fd); }

  /// See EchoConnection::end_input.
  void end_input() const {
    for (const auto& [fd, connection] : connections_) connection.end_input();
  }

  [[nodiscard]] std::size_t size() const { return connections_.size(); }
  [[nodiscard]] bool empty() const { return connections_.empty(); }

 private:
  Epoll& epoll_;
  std::unordered_map<int, EchoConnection> connections_;
};
