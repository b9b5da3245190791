// A server whose answers are printed: the connection is its standard output for a while. Book 6.2.
//
// dup2(2) puts the connection in the place of descriptor 1, and printf(3), which knows nothing of sockets, writes to
// the client. So does any program that is started then, which is all there is to CGI. stdio keeps what it is given in a
// buffer of its own; it has to be flushed while descriptor 1 is still the connection.
//
// Limits: the answer is short, so that it fits the buffer of a new socket, which does not block.
#include <fcntl.h>

#include <csignal>
#include <cstdio>

#include "lib/check.h"
#include "lib/conversations.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

void make_standard_output(int descriptor) {
  check("dup2", uninterrupted([&] { return dup2(descriptor, STDOUT_FILENO); }));
}

/// Return a copy of the standard output, by which it can be put back.
Fd save_standard_output() { return Fd(check("fcntl F_DUPFD_CLOEXEC", fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0))); }

class PrintedAnswer final : public Conversation {
 public:
  /// @param own_output what to put back
  explicit PrintedAnswer(int own_output) : own_output_(own_output) {}

  [[nodiscard]] std::uint32_t events() const override { return EPOLLOUT; }

  Next proceed(int socket) override {
    make_standard_output(socket);
    std::printf("Content-Type: text/plain\n\n");
    std::printf("answer %d of process %d\n", ++answers_, getpid());
#ifndef MUTANT_NO_FLUSH
    const bool is_sent = std::fflush(stdout) == 0;
#else
    const bool is_sent = true;
#endif
    make_standard_output(own_output_);
    std::clearerr(stdout);  // an error was this client's, not the next one's
    return is_sent ? Next::kSaidAll : Next::kOver;
  }

 private:
  inline static int answers_ = 0;
  int own_output_;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "prints to whoever connects", options);
  const SignalPipe signals{SIGTERM, SIGINT};
  Fd listener = listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
  const Fd own_output = save_standard_output();
  converse(signals, std::move(listener), options.idle_timeout,
           [&] { return std::make_unique<PrintedAnswer>(own_output.get()); });
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
