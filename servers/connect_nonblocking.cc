// Connects without blocking, for as long as it wants to wait. Book 9.5.
//
// connect(2) on a non-blocking socket starts the handshake and fails with EINPROGRESS. When poll(2) reports that the
// socket can be written to, the handshake is over, but not necessarily well: only SO_ERROR tells. While it waits the
// program could do anything else.
//
// Prints "connected to A from B" and ends with 0, or says what went wrong and ends with 1.
#include <poll.h>

#include <chrono>
#include <iostream>

#include "lib/address.h"
#include "lib/check.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

/// Return when the socket can be written to; false if it cannot in time.
bool wait_writable(int socket, milliseconds timeout) {
#ifdef MUTANT_NO_PATIENCE
  timeout /= 1000;
#endif
  const auto deadline = Clock::now() + timeout;
  pollfd watched{socket, POLLOUT, 0};
  while (true) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - Clock::now());
    const int count = poll(&watched, 1, static_cast<int>(std::max(left, milliseconds{0}).count()));
    if (count >= 0) return count > 0;
    if (errno != EINTR) check("poll", count);  // interrupted, it goes on for what is left of the time
  }
}

[[noreturn]] void fail(const Address& address, int error) {
  throw std::system_error(error, std::generic_category(), "connect " + address.text());
}

Fd connect_within(const Address& address, milliseconds timeout) {
  Fd socket(check("socket", ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
  if (connect(socket.get(), address.get(), address.size()) == 0) return socket;
  if (errno != EINPROGRESS) fail(address, errno);
  if (!wait_writable(socket.get(), timeout)) fail(address, ETIMEDOUT);
#ifndef MUTANT_NO_SO_ERROR
  int error = 0;
  socklen_t size = sizeof error;
  check("SO_ERROR", getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &size));
  if (error != 0) fail(address, error);
#endif
  return socket;
}

void connect_as_told(int argc, char** argv) {
  Options options;
  options.host = "127.0.0.1";
  std::string timeout = "10000";
  parse(argc, argv, "client that connects without blocking", options,
        {{"--timeout-ms", "N", "milliseconds (default: " + timeout + ")", &timeout}});
  const milliseconds patience{number("--timeout-ms", timeout, 0, 86'400'000)};
  const Fd socket = connect_within(options.address(), patience);
  Address own;
  getsockname(socket.get(), own.get(), own.size_pointer());
  std::cout << "connected to " << options.address().text() << " from " << own.text() << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { connect_as_told(argc, argv); });
}
