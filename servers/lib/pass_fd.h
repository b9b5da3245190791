/// Descriptors that travel from process to process over a UNIX socket (SCM_RIGHTS; book 13.9).
#pragma once

#include <array>

#include "lib/fd.h"

/// Return the two ends of a UNIX stream socket pair.
std::array<Fd, 2> socket_pair();

/// Send a copy of `fd`, and with it the one byte that a message must have.
void send_fd(int socket, int fd, unsigned char byte = 0);

/// Send the byte alone.
void send_byte(int socket, unsigned char byte);

/// What `receive_fd` got.
struct Received {
  Fd fd;  ///< empty if only a byte came; closed on exec
  unsigned char byte = 0;
};

/// Wait for what `send_fd` or `send_byte` sends; throws std::runtime_error if the other end is closed instead.
Received receive_fd(int socket);
