// A client that sends urgent data in the middle of its stream. Book 5.8, the sender.
//
// Sends "123", then "abc" with MSG_OOB, then "123" again. TCP has no second channel: the urgent pointer marks one place
// in the stream. Linux takes the last of the three letters for the urgent byte; "ab" travels as ordinary data.
//
// Limits: TCP knows one urgent byte at a time (RFC 6093 advises against it altogether).
#include "lib/check.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

void send_all(int socket, std::string text, int flags) {
  while (!text.empty()) {
    const ssize_t count = uninterrupted([&] { return send(socket, text.data(), text.size(), flags); });
    text.erase(0, static_cast<std::size_t>(check("send", count)));
  }
}

void converse(int argc, char** argv) {
  Options options;
  options.host = "127.0.0.1";
  parse(argc, argv, "sends ordinary and urgent data to --host and --port", options);
  const Fd socket = connect_to(options.address());

  send_all(socket.get(), "123", 0);
  send_all(socket.get(), "abc", MSG_OOB);
  send_all(socket.get(), "123", 0);
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { converse(argc, argv); });
}
