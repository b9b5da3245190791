#include "lib/accept.h"

#include <cerrno>

#include "lib/check.h"

namespace {

/// Whether an error of accept(2) is that of the connection that was to be accepted, which is then gone.
///
/// Linux tells here what the network has said of a connection that waited; the manual wants it taken as "try again".
bool is_of_one_connection(int error) {
  switch (error) {
    case ECONNABORTED:
    case EPROTO:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
    case ENOPROTOOPT:
      return true;
    default:
      return false;
  }
}

}  // namespace

Accepted accept_one(int listener, Fd& socket, Address* peer, int flags) {
  while (true) {
    Address from;
    const int fd = uninterrupted([&] {
      return peer == nullptr ? accept4(listener, nullptr, nullptr, flags | SOCK_CLOEXEC)
                             : accept4(listener, from.get(), from.size_pointer(), flags | SOCK_CLOEXEC);
    });
    if (fd >= 0) {
      socket.reset(fd);
      if (peer != nullptr) *peer = from;
      return Accepted::kTaken;
    }
    if (would_block()) return Accepted::kNobody;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) return Accepted::kFull;
    if (!is_of_one_connection(errno)) check("accept4", fd);
  }
}
