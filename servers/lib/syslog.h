/// Messages to the machine's log, as syslog(3) sends them (book 7.1).
#pragma once

#include <sys/un.h>

#include <string>

#include "lib/fd.h"

/// A way to a syslogd, by the socket that it reads from.
///
/// syslog(3) knows one socket only, /dev/log. Here the caller names it, so a program can be tried without a word in the
/// log of the machine. A log that nobody reads must not stop a server: what there is no room for is lost.
class Syslog {
 public:
  /// Throws std::system_error if nobody reads from the socket.
  ///
  /// @param ident who says all this: the program's name
  Syslog(const std::string& path, std::string ident);

  /// Send a line.
  ///
  /// @param priority of <syslog.h>, LOG_INFO say; the facility is LOG_DAEMON
  void send(int priority, const std::string& text) const;

 private:
  [[nodiscard]] bool reach() const;

  sockaddr_un address_{};
  std::string ident_;
  Fd socket_;
};
