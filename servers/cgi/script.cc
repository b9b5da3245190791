#include "cgi/script.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>

#include "http/target.h"
#include "lib/check.h"

namespace cgi {

namespace {

/// Why there is no program of that name, by the kernel's word.
http::Status status_of(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
      return http::Status::kNotFound;
    case EACCES:
    case EXDEV:  // it would lead out of the root
    case ELOOP:
      return http::Status::kForbidden;
    default:
      return http::Status::kInternalError;
  }
}

Fd open_below(const http::Root& root, const std::string& path) {
#ifdef MUTANT_CGI_TRAVERSAL
  return Fd(openat(root.fd(), path.c_str(), O_RDONLY | O_CLOEXEC));
#else
  return root.open(path, O_RDONLY);
#endif
}

std::array<Fd, 2> make_pipe() {
  std::array<int, 2> ends{};
#ifdef MUTANT_CGI_INHERITS
  check("pipe", pipe(ends.data()));
#else
  check("pipe2", pipe2(ends.data(), O_CLOEXEC));
#endif
  return {Fd(ends[0]), Fd(ends[1])};
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> found;
  found.reserve(texts.size() + 1);
  for (const std::string& text : texts) found.push_back(const_cast<char*>(text.c_str()));
  found.push_back(nullptr);
  return found;
}

/// What posix_spawn(3) is to do between fork and exec.
class SpawnPlan {
 public:
  SpawnPlan(int input, int output, const std::string& folder) {
    check_result("posix_spawn_file_actions_init", posix_spawn_file_actions_init(&actions_));
    check_result("posix_spawnattr_init", posix_spawnattr_init(&attributes_));
    check_result("adddup2", posix_spawn_file_actions_adddup2(&actions_, input, STDIN_FILENO));
    check_result("adddup2", posix_spawn_file_actions_adddup2(&actions_, output, STDOUT_FILENO));
    check_result("addchdir", posix_spawn_file_actions_addchdir_np(&actions_, folder.c_str()));
    sigset_t all;
    sigfillset(&all);
    posix_spawnattr_setsigdefault(&attributes_, &all);  // ignored signals stay ignored otherwise
    posix_spawnattr_setpgroup(&attributes_, 0);
    posix_spawnattr_setflags(&attributes_, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions_);
    posix_spawnattr_destroy(&attributes_);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
  SpawnPlan(SpawnPlan&&) = delete;
  SpawnPlan& operator=(SpawnPlan&&) = delete;

  pid_t spawn(const std::string& path, const std::vector<std::string>& environment) {
    const std::vector<std::string> words{path};
    std::vector<char*> arguments = pointers(words);
    pid_t pid = 0;
    check_result(("exec " + path).c_str(), posix_spawn(&pid, path.c_str(), &actions_, &attributes_, arguments.data(),
                                                       pointers(environment).data()));
    return pid;
  }

 private:
  posix_spawn_file_actions_t actions_{};
  posix_spawnattr_t attributes_{};
};

void unblock(const Fd& fd) { check("fcntl", fcntl(fd.get(), F_SETFL, O_NONBLOCK)); }

}  // namespace

Target find_script(const http::Root& root, const std::string& path) {
#ifdef MUTANT_CGI_TRAVERSAL
  const std::optional<std::string> wanted = path.substr(1);
#else
  const std::optional<std::string> wanted = http::normalise(path);
#endif
  if (!wanted) return {http::Status::kForbidden, "", ""};
  for (std::size_t end = 0; end != std::string::npos && end < wanted->size();) {
    end = wanted->find('/', end + 1);
    const std::string part = wanted->substr(0, end);
    const Fd file = open_below(root, part);
    if (!file) return {status_of(errno), "", ""};
    struct stat status {};
    check("fstat", fstat(file.get(), &status));
    if (S_ISDIR(status.st_mode)) continue;
    if (!S_ISREG(status.st_mode) || (status.st_mode & 0111) == 0) return {http::Status::kForbidden, "", ""};
    return {http::Status::kOk, part, end == std::string::npos ? "" : wanted->substr(end)};
  }
  return {http::Status::kForbidden, "", ""};  // a folder
}

Scripts::~Scripts() {
  for (const auto& [pid, deadline] : deadlines_) kill(pid);
  for (const auto& one : deadlines_) uninterrupted([&] { return waitpid(one.first, nullptr, 0); });
}

bool Scripts::has_room() const {
#ifdef MUTANT_CGI_NO_LIMITS
  return true;
#else
  return deadlines_.size() < settings_.most_scripts;
#endif
}

std::unique_ptr<Script> Scripts::start(const std::string& script, const std::vector<std::string>& environment) {
  auto [input, to_script] = make_pipe();
  auto [from_script, output] = make_pipe();
  unblock(to_script);
  unblock(from_script);
  const std::filesystem::path path = std::filesystem::path(settings_.folder) / script;
  const pid_t pid = SpawnPlan(input.get(), output.get(), path.parent_path()).spawn(path, environment);
#ifdef MUTANT_CGI_NO_TIMEOUT
  const Clock::time_point deadline = Clock::time_point::max();
#else
  const Clock::time_point deadline = Clock::now() + settings_.time_limit;
#endif
  deadlines_.emplace(pid, deadline);
  ++counters_.scripts;
  return std::make_unique<Script>(Script{pid, deadline, std::move(to_script), std::move(from_script)});
}

void Scripts::kill(pid_t pid) const {
  // A process that is not reaped keeps its number, and so the number is nobody else's.
  if (deadlines_.contains(pid)) ::kill(-pid, SIGKILL);
}

void Scripts::reap() {
#ifndef MUTANT_CGI_NOT_REAPED
  while (true) {
    siginfo_t ended{};
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) < 0 || ended.si_pid == 0) return;
    // As long as it is not reaped: what it has left running in its group ends with it.
    ::kill(-ended.si_pid, SIGKILL);
    waitpid(ended.si_pid, nullptr, 0);
    deadlines_.erase(ended.si_pid);
  }
#endif
}

void Scripts::expire(Clock::time_point now) {
  for (auto& [pid, deadline] : deadlines_) {
    if (now < deadline) continue;
    ::kill(-pid, SIGKILL);
    ++counters_.timeouts;
    deadline = Clock::time_point::max();
  }
}

Clock::time_point Scripts::next_deadline() const {
  Clock::time_point next = Clock::time_point::max();
  for (const auto& [pid, deadline] : deadlines_) next = std::min(next, deadline);
  return next;
}

}  // namespace cgi
