#include "http/root.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/check.h"

namespace http {

Root::Root(const std::string& folder)
    : folder_(check(("open " + folder).c_str(), ::open(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC))) {}

Fd Root::open(const std::string& path, int flags) const {
  open_how how{};
  how.flags = static_cast<__u64>(flags) | O_CLOEXEC | O_NONBLOCK;
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  const char* name = path.empty() ? "." : path.c_str();
  int fd = -1;
  do {
    // EAGAIN: somebody renames folders on the way at this moment, and the kernel cannot be sure where it is.
    fd = static_cast<int>(syscall(SYS_openat2, folder_.get(), name, &how, sizeof how));
  } while (fd < 0 && (errno == EINTR || errno == EAGAIN));
  return Fd(fd);
}

}  // namespace http
