#include "lib/server.h"

#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>

#include "lib/check.h"
#include "lib/options.h"

int run(char** argv, const std::function<void()>& body) {
  const std::string program = std::filesystem::path(argv[0]).filename();
  try {
    if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) check("signal", -1);
    body();
    return 0;
  } catch (const UsageError& error) {
    log_line(program + ": " + error.what());
    return 2;
  } catch (const std::exception& error) {
    log_line(program + ": " + error.what());
    return 1;
  }
}

void announce_ready() {
  const char* text = std::getenv("LAB_READY_FD");  // NOLINT(concurrency-mt-unsafe): nothing changes the environment
  if (text == nullptr) return;
  const int descriptor = static_cast<int>(number("LAB_READY_FD", text, 0, 1'000'000));
  check("write LAB_READY_FD", uninterrupted([&] { return write(descriptor, "", 1); }));
  check("close LAB_READY_FD", close(descriptor));
}

void log_line(const std::string& text) {
  const std::string line = text + "\n";
  // Where the log cannot be written there is nowhere to say so either.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}
