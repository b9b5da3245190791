/// Accepting connections, all of them, and none when there is no room.
#pragma once

#include <sys/socket.h>

#include <cerrno>
#include <chrono>

#include "lib/check.h"
#include "lib/fd.h"

/// How long a server without a free descriptor looks after other things before it tries to accept again.
constexpr std::chrono::milliseconds kAcceptPause{100};

/// Accept all connections that wait at a non-blocking listener; `take` gets each, non-blocking, as an Fd.
///
/// Return false when the process or the system has no descriptor or memory left. The connections go on waiting, and so
/// the listener goes on being readable: who watched it all the same would spin. Throws std::system_error for anything
/// that is no matter of a single connection.
template <typename Take>
bool accept_all(int listener, Take take) {
  while (true) {
    Fd socket(uninterrupted([&] { return accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC); }));
    if (socket) {
      take(std::move(socket));
    } else if (would_block()) {
      return true;
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      return false;
    } else if (errno != ECONNABORTED && errno != EPROTO) {  // those have gone before we came to them
      check("accept4", -1);
    }
  }
}
