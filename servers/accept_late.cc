// A server that accepts only when it is told to. Book 5.5.
//
// accept(2) takes the connection at the head of the queue, whatever has become of it meanwhile: the client may have
// ended it, or reset it, or the cable may be out. So a fresh connection need not be alive, and the first read or write
// tells. What the kernel thinks of each one is logged: "accepted 10.0.1.1:40000: CLOSE_WAIT, 5 bytes wait".
//
// Limits: an accepted connection is closed at once.
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <array>
#include <csignal>

#include "lib/accept.h"
#include "lib/check.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

constexpr int kForever = -1;

/// What the socket table calls the state of a connection.
const char* state_of(int socket) {
  constexpr std::array kNames{"?",         "ESTABLISHED", "SYN_SENT",   "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2",
                              "TIME_WAIT", "CLOSE",       "CLOSE_WAIT", "LAST_ACK", "LISTEN",    "CLOSING"};
  tcp_info info{};
  socklen_t size = sizeof info;
  check("TCP_INFO", getsockopt(socket, IPPROTO_TCP, TCP_INFO, &info, &size));
  return info.tcpi_state < kNames.size() ? kNames[info.tcpi_state] : kNames[0];
}

int bytes_waiting(int socket) {
  int count = 0;
  check("FIONREAD", ioctl(socket, FIONREAD, &count));
  return count;
}

/// Accept all that wait: several signals that come close together are one to the kernel.
void accept_waiting(int listener) {
  Address peer;
  Fd socket;
  while (accept_one(listener, socket, &peer) == Accepted::kTaken) {
    log_line("accepted " + peer.text() + ": " + state_of(socket.get()) + ", " +
             std::to_string(bytes_waiting(socket.get())) + " bytes wait");
    socket.reset();
#ifdef MUTANT_ONE_PER_SIGNAL
    return;
#endif
  }
}

void serve(int argc, char** argv) {
  Options options;
  std::string delay;
  parse(argc, argv, "accepts when SIGUSR1 tells it to", options,
        {{"--delay", "S", "accept without a signal too, after so many whole seconds", &delay}});
  int timeout = delay.empty() ? kForever : static_cast<int>(number("--delay", delay, 0, 86'400)) * 1000;
  const SignalPipe signals{SIGTERM, SIGINT, SIGUSR1};
  const Fd listener = listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
  announce_ready();

  while (true) {
    pollfd signal{signals.fd(), POLLIN, 0};
    if (check("poll", uninterrupted([&] { return poll(&signal, 1, timeout); })) == 0) timeout = kForever;
    const auto came = signals.take();
    if (came.contains(SIGTERM) || came.contains(SIGINT)) return;
    accept_waiting(listener.get());
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
