/// What every program does at its beginning and end.
#pragma once

#include <functional>
#include <string>

/// Run a program's body and return its exit code.
///
/// An exception becomes one line on stderr, "echo_poll: bind 0.0.0.0:80: Address already in use": exit code 2 for a
/// UsageError, 1 for anything else. SIGPIPE is ignored from here on: a peer that is gone is the result of write(2).
int run(char** argv, const std::function<void()>& body);

/// Tell whoever started the program that it listens: one byte into the descriptor that LAB_READY_FD names, if it does.
void announce_ready();

/// Write one line to stderr, in one system call, so that lines of several threads or processes stay whole.
void log_line(const std::string& text);
