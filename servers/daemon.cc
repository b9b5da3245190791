// Server that becomes a daemon, drops its privileges, and opens its log anew on SIGHUP. Book 7.1 to 7.6.
//
// What can fail is done while somebody is there to see it: the port is bound, the files are opened and the privileges
// are dropped before it leaves the terminal, so the command fails with a line, or returns and the server listens. To
// leave means: fork, so that the caller goes on; setsid, away from the terminal; fork again, so that it can never get
// one; "/" as its folder, so that it keeps no file system busy; nothing of the caller's as stdin, stdout or stderr.
//
// It answers each connection with one line about itself. The log is its stderr; after a rename it writes into the old
// file until SIGHUP. With --syslog it goes to a syslogd instead (lib/syslog.h), with a priority for each line. The pid
// file is locked as long as the daemon lives, so a stale one can be told.
//
// Limits: one connection at a time, as one line never has to wait for room. Who goes on talking when he has been
// answered may see the connection reset.
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <syslog.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <functional>
#include <memory>

#include "lib/accept.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"
#include "lib/syslog.h"

namespace {

constexpr std::size_t kMostIgnored = 1 << 20;  // of what a client says

struct Settings {
  Options options;
  std::string daemon;
  std::string user;
  std::string pid_file;
  std::string log_file;
  std::string syslog;
};

using Log = std::function<void(int priority, const std::string& text)>;

/// Let stderr be the log file, created if need be; throws std::system_error.
void open_log(const std::string& path) {
  const Fd log(check(("open " + path).c_str(), open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640)));
  check("dup2", dup2(log.get(), STDERR_FILENO));
}

/// Return the pid file, locked; throws std::system_error, also if another daemon has it.
Fd open_pid_file(const std::string& path) {
  Fd file(check(("open " + path).c_str(), open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)));
#ifndef MUTANT_NO_LOCK
  check(("lock " + path).c_str(), flock(file.get(), LOCK_EX | LOCK_NB));
#endif
  return file;
}

void write_pid(int file) {
  const std::string text = std::to_string(getpid()) + "\n";
  check("ftruncate", ftruncate(file, 0));
  check("write pid", pwrite(file, text.data(), text.size(), 0));
}

/// Be this user and group for good, and in no other group. The order matters: without root there is no way to the rest.
void drop_privileges(uid_t user) {
#ifndef MUTANT_KEEPS_GROUPS
  check("setgroups", setgroups(0, nullptr));
  check("setresgid", setresgid(user, user, user));
#endif
  check("setresuid", setresuid(user, user, user));
  if (setuid(0) == 0) throw std::runtime_error("the privileges could be taken back");
}

/// Fork and let the parent end; the child goes on.
void leave_parent() {
  if (check("fork", fork()) > 0) _exit(0);
}

void become_daemon() {
  leave_parent();
#ifndef MUTANT_NO_SETSID
  check("setsid", setsid());
#endif
  leave_parent();
  check("chdir", chdir("/"));
  umask(027);
  const Fd null(check("open /dev/null", open("/dev/null", O_RDWR | O_CLOEXEC)));
  check("dup2", dup2(null.get(), STDIN_FILENO));
  check("dup2", dup2(null.get(), STDOUT_FILENO));
}

std::string about_itself() {
  return "pid " + std::to_string(getpid()) + " uid " + std::to_string(getuid()) + " gid " + std::to_string(getgid()) +
         " session " + std::to_string(getsid(0)) + " folder " + std::filesystem::current_path().string() + "\n";
}

void answer(const Fd& socket, const Log& log) {
  const std::string line = about_itself();
  // A new connection has room for a line; one that is gone already needs none.
  [[maybe_unused]] const ssize_t written = write(socket.get(), line.data(), line.size());
#ifndef MUTANT_LEAVES_UNREAD
  // What it has said is thrown away: to close while that is unread would reset the connection, answer and all.
  recv(socket.get(), nullptr, kMostIgnored, MSG_TRUNC);
#endif
  log(LOG_INFO, "answered one");
}

void reopen_log(const std::string& path, const Log& log) {
#ifdef MUTANT_LOG_NOT_REOPENED
  const bool reopens = path.empty();
#else
  const bool reopens = !path.empty();
#endif
  try {
    if (reopens) open_log(path);
  } catch (const std::system_error& error) {
    log(LOG_ERR, error.what());  // into the old one: better there than nowhere
  }
  log(LOG_NOTICE, "SIGHUP: the log goes on here");
}

void serve(const SignalPipe& signals, int listener, const std::string& log_file, const Log& log) {
  bool has_room = true;
  while (true) {
    std::array<pollfd, 2> watched{{{signals.fd(), POLLIN, 0}, {has_room ? listener : -1, POLLIN, 0}}};
    const int timeout = has_room ? -1 : static_cast<int>(kAcceptPause.count());
    check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), timeout); }));
    has_room = accept_all(listener, [&](const Fd& socket) { answer(socket, log); });
    for (const int signal : signals.take()) {
      if (signal != SIGHUP) return;
      reopen_log(log_file, log);
    }
  }
}

Settings read(int argc, char** argv) {
  Settings settings;
  parse(argc, argv, "daemon that answers with a line about itself", settings.options,
        {{"--daemon", "", "leave the terminal", &settings.daemon},
         {"--user", "UID", "be this user and group, once the port is bound", &settings.user},
         {"--pid-file", "FILE", "where its process id goes", &settings.pid_file},
         {"--log-file", "FILE", "instead of stderr; a daemon without log file has no stderr", &settings.log_file},
         {"--syslog", "SOCKET", "log to the syslogd that reads there, as most do from /dev/log", &settings.syslog}});
  // Relative paths mean another place once the folder is "/".
  for (std::string* path : {&settings.log_file, &settings.syslog})
    if (!path->empty()) *path = std::filesystem::absolute(*path);
  return settings;
}

/// Return where the log goes; throws std::system_error if nobody reads it there.
Log log_to(const std::string& socket) {
  if (socket.empty()) return [](int /*priority*/, const std::string& text) { log_line(text); };
  const auto syslog = std::make_shared<Syslog>(socket, "daemon");
  return [syslog](int priority, const std::string& text) { syslog->send(priority, text); };
}

void serve_as_told(int argc, char** argv) {
  const Settings settings = read(argc, argv);
  const SignalPipe signals{SIGTERM, SIGINT, SIGHUP};
  const Fd listener = listen_on(settings.options.address(), settings.options.backlog, SOCK_NONBLOCK);
  const Fd pid_file = settings.pid_file.empty() ? Fd() : open_pid_file(settings.pid_file);
  if (!settings.user.empty()) drop_privileges(static_cast<uid_t>(number("--user", settings.user, 1, 2'000'000'000)));
  const Log log = log_to(settings.syslog);
  const bool is_daemon = !settings.daemon.empty();
  const std::string log_file = settings.log_file.empty() && is_daemon ? "/dev/null" : settings.log_file;
  if (!log_file.empty()) open_log(log_file);
  if (is_daemon) become_daemon();
  if (pid_file) write_pid(pid_file.get());
  announce_ready();
  serve(signals, listener.get(), settings.log_file, log);
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve_as_told(argc, argv); });
}
