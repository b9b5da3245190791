/// Sizes of socket buffers: what is asked for, and what the kernel makes of it.
#pragma once

#include <string>

enum class Buffer { kSend, kReceive };

/// Set the size of a socket's buffer (SO_SNDBUF, SO_RCVBUF); throws std::system_error.
///
/// @return for people: "receive buffer: 100 bytes asked for, 2304 given"
std::string set_buffer_size(int socket, Buffer which, int wanted);
