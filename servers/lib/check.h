/// System calls whose failure is an exception.
#pragma once

#include <cerrno>
#include <system_error>

/// Return `result` of a system call, or throw with its name and errno.
template <typename T>
T check(const char* call, T result) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), call);
  return result;
}

/// Throw for a function that returns its error instead of setting errno, as those of pthreads do.
inline void check_result(const char* call, int error) {
  if (error != 0) throw std::system_error(error, std::generic_category(), call);
}

/// Call again as long as a signal interrupts the call (EINTR).
template <typename Call>
auto uninterrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

/// Whether the call that has just failed would have had to wait.
inline bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }
