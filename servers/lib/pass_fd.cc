#include "lib/pass_fd.h"

#include <sys/socket.h>

#include <cstring>
#include <stdexcept>

#include "lib/check.h"

namespace {

/// A message of one byte with room for one descriptor beside it, aligned as the kernel wants it.
struct Message {
  explicit Message(unsigned char first) : byte(first) {
    header.msg_iov = &part;
    header.msg_iovlen = 1;
  }

  void make_room() {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
  }

  unsigned char byte;
  iovec part{&byte, 1};
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  msghdr header{};
};

void send(int socket, Message& message) {
  check("sendmsg", uninterrupted([&] { return sendmsg(socket, &message.header, MSG_NOSIGNAL); }));
}

}  // namespace

std::array<Fd, 2> socket_pair() {
  std::array<int, 2> ends{};
  check("socketpair", socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()));
  return {Fd(ends[0]), Fd(ends[1])};
}

void send_fd(int socket, int fd, unsigned char byte) {
  Message message(byte);
  message.make_room();
  cmsghdr* control = CMSG_FIRSTHDR(&message.header);
  control->cmsg_level = SOL_SOCKET;
  control->cmsg_type = SCM_RIGHTS;
  control->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(control), &fd, sizeof fd);
  send(socket, message);
}

void send_byte(int socket, unsigned char byte) {
  Message message(byte);
  send(socket, message);
}

Received receive_fd(int socket) {
  Message message(0);
  message.make_room();
  const ssize_t count = uninterrupted([&] { return recvmsg(socket, &message.header, MSG_CMSG_CLOEXEC); });
  if (check("recvmsg", count) == 0) throw std::runtime_error("the other end is closed");
  Received received;
  received.byte = message.byte;
  const cmsghdr* control = CMSG_FIRSTHDR(&message.header);
  if (control != nullptr && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(control), sizeof fd);
    received.fd.reset(fd);
  }
  return received;
}
