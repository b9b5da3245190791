#include "lib/signal_pipe.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>

#include "lib/check.h"

namespace {

std::atomic<int> pipe_of_signals{-1};

void forward(int signal) {
  const int before = errno;
  const auto byte = static_cast<unsigned char>(signal);
  // A full pipe has plenty to read already; a signal more would say nothing new.
  [[maybe_unused]] const ssize_t written = write(pipe_of_signals, &byte, 1);
  errno = before;
}

}  // namespace

SignalPipe::SignalPipe(std::initializer_list<int> signals) : signals_(signals) {
  std::array<int, 2> ends{};
  check("pipe2", pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC));
  reader_.reset(ends[0]);
  writer_.reset(ends[1]);
  pipe_of_signals = writer_.get();
  struct sigaction action {};
  action.sa_handler = forward;
  action.sa_flags = SA_RESTART;
  sigfillset(&action.sa_mask);
  for (const int signal : signals_) check("sigaction", sigaction(signal, &action, nullptr));
}

SignalPipe::~SignalPipe() {
  for (const int signal : signals_) std::signal(signal, SIG_DFL);
  pipe_of_signals = -1;
}

std::set<int> SignalPipe::take() const {
  std::set<int> found;
  std::array<unsigned char, 256> bytes{};
  ssize_t count = 0;
  while ((count = uninterrupted([&] { return read(reader_.get(), bytes.data(), bytes.size()); })) > 0)
    found.insert(bytes.begin(), bytes.begin() + count);
  return found;
}
