// Echo server that closes idle connections, with its timers in a wheel. Book 11.4.1.
//
// Adding, cancelling and expiring take constant time, however many timers there are and however long they run.
//
// Limits: a connection is closed up to one tick of the wheel, 10 ms, late.
#include "lib/idle_server.h"
#include "lib/server.h"
#include "lib/timers/wheel.h"

int main(int argc, char** argv) {
  return run(argv, [&] {
    TimerWheel timers;
    serve_until_idle(argc, argv, "echo server that closes idle connections; timers in a wheel", timers);
  });
}
