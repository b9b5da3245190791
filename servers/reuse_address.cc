// A server that can be started again while connections of its predecessor are in TIME_WAIT. Book 5.11.1.
//
// It greets everyone and ends the connection first, so TIME_WAIT is on its side (RFC 9293 3.6), for a minute. In that
// time the port counts as taken, and bind(2) fails, unless both the old socket and the new one have SO_REUSEADDR.
//
// Limits: SO_REUSEADDR does not share a port that somebody listens on; that is SO_REUSEPORT.
#include <csignal>

#include "lib/check.h"
#include "lib/conversations.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

Fd listen_with([[maybe_unused]] bool is_reusing, const Address& address, int backlog) {
  Fd socket(check("socket", ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
#ifndef MUTANT_NO_REUSE
  if (is_reusing) set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
#endif
  check(("bind " + address.text()).c_str(), bind(socket.get(), address.get(), address.size()));
  check(("listen " + address.text()).c_str(), listen(socket.get(), backlog));
  return socket;
}

void serve(int argc, char** argv) {
  Options options;
  std::string without;
  parse(argc, argv, "greets, and ends the connection first", options,
        {{"--without-reuse", "", "leave SO_REUSEADDR out", &without}});
  const SignalPipe signals{SIGTERM, SIGINT};
  converse(signals, listen_with(without.empty(), options.address(), options.backlog), options.idle_timeout,
           [] { return std::make_unique<Speech>("hello\n"); });
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
