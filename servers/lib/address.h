/// Socket addresses, and sockets that listen on them.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <string>

#include "lib/fd.h"

/// An IPv4 or IPv6 address with a port.
class Address {
 public:
  /// For accept(2) and its like to fill in.
  Address() = default;

  /// Throws std::invalid_argument if `host` is no numeric address.
  Address(const std::string& host, int port);

  [[nodiscard]] int family() const { return storage_.ss_family; }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  [[nodiscard]] sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage_); }
  [[nodiscard]] socklen_t size() const { return size_; }
  [[nodiscard]] socklen_t* size_pointer() { return &size_; }
  [[nodiscard]] int port() const;

  /// "10.0.1.2:80", "[fe80::1]:80".
  [[nodiscard]] std::string text() const;

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = sizeof storage_;
};

/// Return a TCP socket that listens.
///
/// SO_REUSEADDR is set, so that a server can be started again while connections of its predecessor are in TIME_WAIT
/// (book 5.11.1). Throws std::system_error; "bind 0.0.0.0:80: Address already in use".
///
/// @param flags for socket(2), SOCK_NONBLOCK say; SOCK_CLOEXEC is always set
Fd listen_on(const Address& address, int backlog, int flags = 0);

/// Return a UDP socket bound to an address.
Fd bind_datagrams(const Address& address, int flags = 0);

/// Return a TCP socket connected to an address; throws std::system_error.
Fd connect_to(const Address& address);

/// Set an int option of a socket; throws std::system_error with `name`.
void set_option(int socket, int level, int option, int value, const char* name);
