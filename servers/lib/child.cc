#include "lib/child.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>

#include "lib/check.h"
#include "lib/server.h"

namespace {

/// What a server may have a handler for.
constexpr int kHandled[] = {SIGHUP, SIGINT, SIGTERM, SIGCHLD, SIGUSR1, SIGUSR2, SIGURG, SIGALRM};

int run_body(const std::function<int()>& body) {
  try {
    return body();
  } catch (const std::exception& error) {
    log_line("child " + std::to_string(getpid()) + ": " + error.what());
    return 1;
  }
}

}  // namespace

pid_t fork_child(const std::function<int()>& body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  const pid_t pid = fork();
  if (pid == 0) {
    for (const int signal : kHandled) std::signal(signal, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    _exit(run_body(body));
  }
  const int error = errno;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  errno = error;
  return check("fork", pid);
}

std::optional<Ended> reap_one() {
  Ended ended{};
  ended.pid = waitpid(-1, &ended.status, WNOHANG);
  if (ended.pid > 0) return ended;
  if (ended.pid < 0 && errno != ECHILD) check("waitpid", -1);
  return std::nullopt;
}

void end_with_parent(pid_t parent, int signal) {
  check("prctl", prctl(PR_SET_PDEATHSIG, signal));
  if (getppid() != parent) _exit(1);
}
