#include "lib/buffer_size.h"

#include <sys/socket.h>

#include "lib/address.h"
#include "lib/check.h"

std::string set_buffer_size(int socket, Buffer which, int wanted) {
  const bool is_send = which == Buffer::kSend;
  const int option = is_send ? SO_SNDBUF : SO_RCVBUF;
  set_option(socket, SOL_SOCKET, option, wanted, is_send ? "SO_SNDBUF" : "SO_RCVBUF");
  int given = 0;
  socklen_t size = sizeof given;
  check("getsockopt", getsockopt(socket, SOL_SOCKET, option, &given, &size));
  return std::string(is_send ? "send" : "receive") + " buffer: " + std::to_string(wanted) + " bytes asked for, " +
         std::to_string(given) + " given";
}
