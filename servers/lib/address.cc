#include "lib/address.h"

#include <arpa/inet.h>

#include <array>
#include <stdexcept>
#include <system_error>

#include "lib/check.h"

Address::Address(const std::string& host, int port) {
  auto* v4 = reinterpret_cast<sockaddr_in*>(&storage_);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage_);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<in_port_t>(port));
    size_ = sizeof *v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<in_port_t>(port));
    size_ = sizeof *v6;
  } else {
    throw std::invalid_argument("\"" + host + "\" is no IPv4 or IPv6 address");
  }
}

int Address::port() const {
  return family() == AF_INET6 ? ntohs(reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port)
                              : ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
}

std::string Address::text() const {
  std::array<char, INET6_ADDRSTRLEN> host{};
  const bool is_v6 = family() == AF_INET6;
  const void* binary = is_v6 ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr)
                             : &reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr;
  inet_ntop(family(), binary, host.data(), host.size());
  return (is_v6 ? "[" + std::string(host.data()) + "]" : std::string(host.data())) + ":" + std::to_string(port());
}

namespace {

Fd bound(const Address& address, int type) {
  Fd socket(check("socket", ::socket(address.family(), type | SOCK_CLOEXEC, 0)));
  set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  check(("bind " + address.text()).c_str(), bind(socket.get(), address.get(), address.size()));
  return socket;
}

}  // namespace

Fd listen_on(const Address& address, int backlog, int flags) {
  Fd socket = bound(address, SOCK_STREAM | flags);
  check(("listen " + address.text()).c_str(), listen(socket.get(), backlog));
  return socket;
}

Fd bind_datagrams(const Address& address, int flags) {
  Fd socket(check("socket", ::socket(address.family(), SOCK_DGRAM | SOCK_CLOEXEC | flags, 0)));
  check(("bind " + address.text()).c_str(), bind(socket.get(), address.get(), address.size()));
  return socket;
}

Fd connect_to(const Address& address) {
  Fd socket(check("socket", ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)));
  check(("connect " + address.text()).c_str(), connect(socket.get(), address.get(), address.size()));
  return socket;
}

void set_option(int socket, int level, int option, int value, const char* name) {
  check(name, setsockopt(socket, level, option, &value, sizeof value));
}
