// A client with a send buffer of a chosen size. Book 5.11.2.
//
// write(2) returns when the kernel has taken what it is given, not when it has arrived. How much the kernel takes from
// a program whose peer does not read is the size of the send buffer (and what fits the peer's receive buffer). The
// client prints what it was given, and how much it could write before it would have had to wait for the first time.
//
// Limits: it sends the letter "a", as often as it is told.
#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <climits>
#include <iostream>

#include "lib/buffer_size.h"
#include "lib/check.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

#ifdef MUTANT_WRONG_BUFFER
constexpr Buffer kBuffer = Buffer::kReceive;
#else
constexpr Buffer kBuffer = Buffer::kSend;
#endif

Fd connect_with(int send_buffer, const Address& address) {
  Fd socket(check("socket", ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0)));
  if (send_buffer > 0) std::cout << set_buffer_size(socket.get(), kBuffer, send_buffer) << std::endl;
  check(("connect " + address.text()).c_str(), connect(socket.get(), address.get(), address.size()));
  return socket;
}

void wait_for(int socket, short event) {
  pollfd watched{socket, event, 0};
  check("poll", uninterrupted([&] { return poll(&watched, 1, -1); }));
}

/// Send so many letters, and say when the buffers are full for the first time.
void send_letters(int socket, long count) {
  std::array<char, 65'536> letters{};
  letters.fill('a');
  bool was_full = false;
  long sent = 0;
  while (sent < count) {
    const auto size = static_cast<std::size_t>(std::min<long>(count - sent, letters.size()));
    const ssize_t written = uninterrupted([&] { return send(socket, letters.data(), size, MSG_DONTWAIT); });
    if (written >= 0) {
      sent += written;
      continue;
    }
    if (!would_block()) check("send", -1);
    if (!was_full) std::cout << "full after " << sent << " bytes" << std::endl;
    was_full = true;
    wait_for(socket, POLLOUT);
  }
}

/// End the stream, and wait until the server has read all of it and ended its own.
void await_end(int socket) {
  check("shutdown", shutdown(socket, SHUT_WR));
  std::array<char, 1024> ignored{};
  while (check("read", uninterrupted([&] { return read(socket, ignored.data(), ignored.size()); })) > 0) continue;
}

void converse(int argc, char** argv) {
  Options options;
  options.host = "127.0.0.1";
  std::string wanted;
  std::string count = "512";
  parse(argc, argv, "sends to --host and --port, with a send buffer of a chosen size", options,
        {{"--send-buffer", "BYTES", "SO_SNDBUF (default: as large as the kernel finds right)", &wanted},
         {"--bytes", "N", "how much to send (default: 512)", &count}});
  const int send_buffer = wanted.empty() ? 0 : static_cast<int>(number("--send-buffer", wanted, 1, INT_MAX));
  const long bytes = number("--bytes", count, 0, LONG_MAX);
  const Fd socket = connect_with(send_buffer, options.address());
  send_letters(socket.get(), bytes);
  await_end(socket.get());
  std::cout << "sent " << bytes << " bytes" << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { converse(argc, argv); });
}
