// A server that listens and never accepts. Book 5.4.
//
// The kernel completes handshakes by itself: clients are connected, and may even send, before any program knows of
// them. They wait in the queue whose length the backlog limits. Linux lets one more wait than it says.
//
// Limits: whoever waits is reset when the program ends.
#include <poll.h>

#include <csignal>

#include "lib/check.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

void serve(int argc, char** argv) {
  Options options;
  options.backlog = 5;
  parse(argc, argv, "listens and never accepts", options);
  const SignalPipe signals{SIGTERM, SIGINT};
#ifdef MUTANT_FIXED_BACKLOG
  const Fd listener = listen_on(options.address(), SOMAXCONN);
#else
  const Fd listener = listen_on(options.address(), options.backlog);
#endif
  announce_ready();

  pollfd signal{signals.fd(), POLLIN, 0};
  check("poll", uninterrupted([&] { return poll(&signal, 1, -1); }));
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
