/// An echo server that closes idle connections; the programs differ in how they keep their timers.
#pragma once

#include <string>

#include "lib/timers/timers.h"

/// Read the command line and serve until SIGTERM or SIGINT.
///
/// A connection on which nothing moves for --idle-timeout is closed. Each byte that is received or sent gives it all of
/// that time again: a peer that does not read its answers is as idle as one that says nothing.
///
/// @param timers empty; borrowed
void serve_until_idle(int argc, char** argv, const std::string& summary, Timers& timers);
