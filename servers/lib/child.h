/// Child processes: how they begin, and how they are reaped (book 13.1 to 13.3).
#pragma once

#include <sys/types.h>

#include <csignal>
#include <functional>
#include <optional>

/// Fork; the child runs `body` and ends with what it returns, the parent gets its process id.
///
/// All signals have their default actions in the child, and none that comes in between is taken for the parent's: it
/// is held back until the child's own actions are set. Nothing of the parent's is destroyed or flushed in the child;
/// an exception of `body` becomes a line on stderr and exit code 1. Throws std::system_error if there can be no child.
pid_t fork_child(const std::function<int()>& body);

/// A child that has ended.
struct Ended {
  pid_t pid;
  int status;  ///< as wait(2) has it
};

/// Reap one child that has ended; nothing if none has. To be called until then: one SIGCHLD may stand for many.
std::optional<Ended> reap_one();

/// Let the kernel send the calling child a signal when its parent ends, however that happens; ends it if it already
/// has.
///
/// @param parent process id of the parent, asked for before the fork
void end_with_parent(pid_t parent, int signal = SIGKILL);
