/// The programs of a CGI server: which one a path means, and how they run.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cgi/settings.h"
#include "http/status.h"
#include "lib/fd.h"

namespace cgi {

/// What a path means: a program below the root, and what stands behind its name.
struct Target {
  http::Status status = http::Status::kOk;  ///< else why there is none
  std::string script;                       ///< relative to the root
  std::string path_info;                    ///< "" or "/..."
};

/// Find the first part of `path` that is a file. Only regular files that may be executed are programs; nothing outside
/// of the root is, whatever dots and links the path goes through.
///
/// @param path decoded, begins with "/"
Target find_script(const http::Root& root, const std::string& path);

/// A program that runs. It leads a process group of its own, which ends with it.
struct Script {
  pid_t pid;
  Clock::time_point deadline;
  Fd input;   ///< its standard input, non-blocking
  Fd output;  ///< its standard output, non-blocking
};

/// All that run in a worker.
class Scripts {
 public:
  explicit Scripts(const Settings& settings, Counters& counters) : settings_(settings), counters_(counters) {}

  /// Kills and reaps them all.
  ~Scripts();

  Scripts(const Scripts&) = delete;
  Scripts& operator=(const Scripts&) = delete;
  Scripts(Scripts&&) = delete;
  Scripts& operator=(Scripts&&) = delete;

  /// Whether one more may be started.
  [[nodiscard]] bool has_room() const;
  [[nodiscard]] bool empty() const { return deadlines_.empty(); }

  /// Start a program, in its own folder; throws std::system_error.
  ///
  /// @param script relative to the root
  /// @param environment "NAME=value": all that it gets
  std::unique_ptr<Script> start(const std::string& script, const std::vector<std::string>& environment);

  /// Kill a program and all in its group, unless it has ended already. `reap` finds it later.
  void kill(pid_t pid) const;

  /// Reap those that have ended; to be called on SIGCHLD.
  void reap();

  /// Kill those that run for too long, those too whose client has gone.
  void expire(Clock::time_point now);

  /// The next moment at which `expire` has something to do.
  [[nodiscard]] Clock::time_point next_deadline() const;

 private:
  const Settings& settings_;
  Counters& counters_;
  std::map<pid_t, Clock::time_point> deadlines_;
};

}  // namespace cgi
