// Echo server that closes idle connections, with its timers in a sorted list. Book 11.2.
//
// All connections have the same patience: a timer that begins anew is due last, and its place is the list's end.
//
// Limits: with timers of different lengths, adding one takes time in proportion to how many there are.
#include "lib/idle_server.h"
#include "lib/server.h"
#include "lib/timers/list.h"

int main(int argc, char** argv) {
  return run(argv, [&] {
    TimerList timers;
    serve_until_idle(argc, argv, "echo server that closes idle connections; timers in a sorted list", timers);
  });
}
