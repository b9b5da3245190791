/// How a connect(2) that did not wait has ended.
#pragma once

#include <sys/socket.h>

#include "lib/check.h"

/// Return the error that waits at a socket (SO_ERROR), which is taken with that, or 0.
inline int pending_error(int socket) {
  int error = 0;
  socklen_t size = sizeof error;
  check("SO_ERROR", getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size));
  return error;
}
