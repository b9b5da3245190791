// Echo server that closes idle connections, with its timers in a heap. Book 11.4.2.
//
// The heap's top is the timer that is due first; all else takes time in proportion to the logarithm of their number.
//
// Limits: every byte that moves costs a cancelled timer and a new one.
#include "lib/idle_server.h"
#include "lib/server.h"
#include "lib/timers/heap.h"

int main(int argc, char** argv) {
  return run(argv, [&] {
    TimerHeap timers;
    serve_until_idle(argc, argv, "echo server that closes idle connections; timers in a heap", timers);
  });
}
