/// Whole messages over descriptors that may take or give less at a time.
#pragma once

#include <unistd.h>

#include <string_view>

#include "lib/check.h"

/// Write all of `data` to a blocking descriptor; false with errno set if it cannot be done.
inline bool write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t count = uninterrupted([&] { return write(fd, data.data(), data.size()); });
    if (count < 0) return false;
    data.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}
