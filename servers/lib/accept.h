/// Accepting connections: one, or all of them, and none when there is no room.
#pragma once

#include <sys/socket.h>

#include <chrono>
#include <utility>

#include "lib/address.h"
#include "lib/check.h"
#include "lib/fd.h"

/// How long a server without a free descriptor looks after other things before it tries to accept again.
constexpr std::chrono::milliseconds kAcceptPause{100};

/// What accept(2) has come to.
enum class Accepted {
  kTaken,   ///< a connection; more may wait
  kNobody,  ///< nobody waits, or another process or thread was quicker
  kFull,    ///< the process or the system has no descriptor or memory left; who waits goes on waiting
};

/// Accept one connection into `socket`.
///
/// While there is no room, the listener goes on being readable: who watched it all the same would spin. Connections
/// that have gone before their turn are passed over. Throws std::system_error for anything that is no matter of a
/// single connection.
///
/// @param listener non-blocking
/// @param peer whom it is from, if that is of interest
/// @param flags for the connection; SOCK_CLOEXEC is always set
Accepted accept_one(int listener, Fd& socket, Address* peer = nullptr, int flags = SOCK_NONBLOCK);

/// Accept all connections that wait at a non-blocking listener; `take` gets each, non-blocking, as an Fd.
///
/// Return false when there is no room for more of them.
template <typename Take>
bool accept_all(int listener, Take take) {
  while (true) {
    Fd socket;
    const Accepted accepted = accept_one(listener, socket);
    if (accepted != Accepted::kTaken) return accepted == Accepted::kNobody;
    take(std::move(socket));
  }
}
