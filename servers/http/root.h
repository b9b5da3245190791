/// The folder whose files are served.
#pragma once

#include <string>

#include "lib/fd.h"

namespace http {

/// A folder that nothing outside of is reachable through: not by "..", not by an absolute path, not by a link.
class Root {
 public:
  /// Throws std::system_error if there is no such folder.
  explicit Root(const std::string& folder);

  [[nodiscard]] int fd() const { return folder_.get(); }

  /// Return a descriptor of what has this relative path ("" is the folder itself), or none, with errno set.
  ///
  /// openat2(2) with RESOLVE_BENEATH: the kernel itself refuses a step out of the folder, with EXDEV, at whatever
  /// moment somebody puts a link there. Links that stay within are followed.
  ///
  /// @param flags as of open(2); O_CLOEXEC and O_NONBLOCK are always set, so that a FIFO holds nobody up
  [[nodiscard]] Fd open(const std::string& path, int flags) const;

 private:
  Fd folder_;
};

}  // namespace http
