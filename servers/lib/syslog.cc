#include "lib/syslog.h"

#include <sys/socket.h>
#include <syslog.h>
#include <unistd.h>

#include <array>
#include <ctime>
#include <utility>

#include "lib/check.h"

namespace {

/// Who a syslogd takes a message from, and how much it matters, is one number.
int code_of([[maybe_unused]] int priority) {
#ifdef MUTANT_ONE_PRIORITY
  return LOG_DAEMON | LOG_NOTICE;
#else
  return LOG_DAEMON | priority;
#endif
}

/// "Nov 26 21:04:58", in the machine's own time.
std::string now() {
  const std::time_t seconds = std::time(nullptr);
  std::tm parts{};
  localtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%b %e %T", &parts)};
}

}  // namespace

Syslog::Syslog(const std::string& path, std::string ident)
    : ident_(std::move(ident)), socket_(check("socket", socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0))) {
  address_.sun_family = AF_UNIX;
  if (path.size() >= sizeof address_.sun_path) throw std::system_error(ENAMETOOLONG, std::generic_category(), path);
  path.copy(static_cast<char*>(address_.sun_path), path.size());
  if (!reach()) check(("connect " + path).c_str(), -1);
}

/// The process' id is asked for each time: a daemon has another than whoever started it.
void Syslog::send(int priority, const std::string& text) const {
  const std::string line = "<" + std::to_string(code_of(priority)) + ">" + now() + " " + ident_ + "[" +
                           std::to_string(getpid()) + "]: " + text;
#ifdef MUTANT_WAITS_FOR_SYSLOG
  const int flags = MSG_NOSIGNAL;
#else
  const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
#endif
  const auto try_to_send = [&] {
    return uninterrupted([&] { return ::send(socket_.get(), line.data(), line.size(), flags); }) >= 0;
  };
  // A syslogd that was started anew has a new socket under the old name.
  if (!try_to_send() && !would_block() && reach()) try_to_send();
}

bool Syslog::reach() const {
  return connect(socket_.get(), reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0;
}
