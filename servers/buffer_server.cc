// A server with a receive buffer of a chosen size. Book 5.11.2.
//
// The kernel doubles what it is asked for, as its own bookkeeping takes room too, and has a least and a greatest size
// (socket(7)). The size bounds the window that the client is offered. It has to be set on the listening socket: whether
// windows are scaled is settled in the handshake, before there is a connection to set it on.
//
// Limits: a buffer that is set by hand stays as it is; the kernel would else fit it to the connection.
#include <array>
#include <climits>
#include <csignal>

#include "lib/buffer_size.h"
#include "lib/check.h"
#include "lib/conversations.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

constexpr std::size_t kBufferSize = 65'536;

/// Reads to the end, and logs how much there was.
class Counting final : public Conversation {
 public:
  [[nodiscard]] std::uint32_t events() const override { return EPOLLIN; }

  Next proceed(int socket) override {
    std::array<char, kBufferSize> buffer{};
    const ssize_t count = uninterrupted([&] { return read(socket, buffer.data(), buffer.size()); });
    if (count < 0) return would_block() ? Next::kGoOn : Next::kOver;
    received_ += static_cast<unsigned long>(count);
    if (count > 0) return Next::kGoOn;
    log_line("received " + std::to_string(received_) + " bytes");
    return Next::kSaidAll;
  }

 private:
  unsigned long received_ = 0;
};

#ifdef MUTANT_WRONG_BUFFER
constexpr Buffer kBuffer = Buffer::kSend;
#else
constexpr Buffer kBuffer = Buffer::kReceive;
#endif

/// Return a listening socket whose connections inherit a receive buffer of the size that is asked for; 0 for none.
Fd listen_with(int receive_buffer, const Address& address, int backlog) {
  Fd socket(check("socket", ::socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
  set_option(socket.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR");
  if (receive_buffer > 0) log_line(set_buffer_size(socket.get(), kBuffer, receive_buffer));
  check(("bind " + address.text()).c_str(), bind(socket.get(), address.get(), address.size()));
  check(("listen " + address.text()).c_str(), listen(socket.get(), backlog));
  return socket;
}

void serve(int argc, char** argv) {
  Options options;
  std::string wanted;
  parse(argc, argv, "counts what it is sent, with a receive buffer of a chosen size", options,
        {{"--receive-buffer", "BYTES", "SO_RCVBUF (default: as large as the kernel finds right)", &wanted}});
  const int receive_buffer = wanted.empty() ? 0 : static_cast<int>(number("--receive-buffer", wanted, 1, INT_MAX));
  const SignalPipe signals{SIGTERM, SIGINT};
  converse(signals, listen_with(receive_buffer, options.address(), options.backlog), options.idle_timeout,
           [] { return std::make_unique<Counting>(); });
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
