// Connects with SO_SNDTIMEO as the limit of time. Book 11.1.
//
// The option limits every call that sends on the socket, and connect(2) is one of them. A blocking connect that the
// limit ends fails with EINPROGRESS, as if the socket were non-blocking; ETIMEDOUT is the kernel's own patience, which
// lasts minutes. Once connected, the same limit holds for writing.
//
// Prints "connected to A after N ms" and ends with 0, or says what went wrong, after how long, and ends with 1.
#include <sys/time.h>

#include <chrono>
#include <iostream>

#include "lib/address.h"
#include "lib/check.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

using Clock = std::chrono::steady_clock;

std::string after(Clock::time_point start) {
  const auto passed = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - start);
  return " after " + std::to_string(passed.count()) + " ms";
}

void limit_sending(int socket, long milliseconds) {
  timeval limit{};
  limit.tv_sec = milliseconds / 1000;
#ifdef MUTANT_WRONG_UNIT
  limit.tv_usec = milliseconds % 1000;
#else
  limit.tv_usec = milliseconds % 1000 * 1000;
#endif
  check("SO_SNDTIMEO", setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
}

void connect_as_told(int argc, char** argv) {
  Options options;
  options.host = "127.0.0.1";
  std::string timeout = "10000";
  parse(argc, argv, "client that connects within a time", options,
        {{"--timeout-ms", "N", "milliseconds (default: " + timeout + ")", &timeout}});
  const Address address = options.address();
  const Fd socket(check("socket", ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)));
  limit_sending(socket.get(), number("--timeout-ms", timeout, 1, 86'400'000));

  const auto start = Clock::now();
  if (connect(socket.get(), address.get(), address.size()) == 0) {
    std::cout << "connected to " << address.text() << after(start) << std::endl;
    return;
  }
  const int error = errno == EINPROGRESS ? ETIMEDOUT : errno;
  throw std::system_error(error, std::generic_category(), "connect " + address.text() + after(start));
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { connect_as_told(argc, argv); });
}
