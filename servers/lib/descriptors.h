/// How many files and sockets a process may have open (book 16.1).
#pragma once

#include <sys/resource.h>

#include <cstddef>

#include "lib/check.h"

/// Let this process, and those that it starts, have as many descriptors as they are allowed; return how many.
inline std::size_t raise_descriptor_limit() {
  rlimit limit{};
  check("getrlimit", getrlimit(RLIMIT_NOFILE, &limit));
  limit.rlim_cur = limit.rlim_max;
  check("setrlimit", setrlimit(RLIMIT_NOFILE, &limit));
  return limit.rlim_cur;
}
