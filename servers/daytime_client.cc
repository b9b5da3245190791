// A client that asks for the time of day by names. Book 5.12; RFC 867.
//
// getaddrinfo(3) finds addresses for a host's name and the port for a service's (/etc/services). The book's
// gethostbyname and getservbyname know IPv4 only and answer in static memory, one answer for the whole process. A host
// may have several addresses, and any of them may be dead: they are tried in turn.
//
// Limits: they are tried one after the other (RFC 8305 tries them nearly at once).
#include <netdb.h>
#include <unistd.h>

#include <array>
#include <iostream>
#include <memory>

#include "lib/check.h"
#include "lib/fd.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

using Addresses = std::unique_ptr<addrinfo, decltype(&freeaddrinfo)>;

/// Return the addresses of a service at a host, the best one first (RFC 6724); throws if there are none.
Addresses resolve(const std::string& host, const std::string& service) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), service.c_str(), &hints, &found); error != 0)
    throw std::runtime_error(host + " " + service + ": " + gai_strerror(error));
  return {found, freeaddrinfo};
}

/// "10.0.1.2 port 13"
std::string text_of(const addrinfo& address) {
  std::array<char, NI_MAXHOST> host{};
  std::array<char, NI_MAXSERV> port{};
  if (getnameinfo(address.ai_addr, address.ai_addrlen, host.data(), host.size(), port.data(), port.size(),
                  NI_NUMERICHOST | NI_NUMERICSERV) != 0)
    return "an address of no known family";
  return std::string(host.data()) + " port " + port.data();
}

/// Return a connection to the first address that takes one; throws the last one's error if none does.
Fd connect_to_any(const addrinfo* addresses) {
  std::string failure;
  for (const addrinfo* one = addresses; one != nullptr; one = one->ai_next) {
    Fd socket(::socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol));
    if (socket && connect(socket.get(), one->ai_addr, one->ai_addrlen) == 0) return socket;
    failure = std::error_code(errno, std::generic_category()).message();
    log_line(text_of(*one) + ": " + failure);
#ifdef MUTANT_FIRST_ADDRESS
    break;
#endif
  }
  throw std::runtime_error("no address answers; the last said: " + failure);
}

void ask(int argc, char** argv) {
  std::string host = "localhost";
  std::string service = "daytime";
  parse(argc, argv, "asks for the time of day (RFC 867)",
        {{"--host", "NAME", "name or address of the server (default: localhost)", &host},
         {"--port", "NAME", "name or number of its port (default: daytime)", &service}});
  if (service.find_first_not_of("0123456789") == std::string::npos)
    number("--port", service, 1, 65535);  // getaddrinfo(3) would take what is too large for something else
  const Addresses addresses = resolve(host, service);
  const Fd socket = connect_to_any(addresses.get());

  std::array<char, 256> piece{};
  while (const ssize_t count =
             check("read", uninterrupted([&] { return read(socket.get(), piece.data(), piece.size()); })))
    std::cout.write(piece.data(), count);
  std::cout.flush();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { ask(argc, argv); });
}
