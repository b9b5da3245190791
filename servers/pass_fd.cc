// A descriptor that one process opens and another reads from. Book 13.9.
//
// The child opens --file, reads its first line, and sends the descriptor over a UNIX socket (SCM_RIGHTS). What the
// parent receives is a new descriptor of its own for the same open file: its number may differ, its position in the
// file is shared, so that the parent goes on with the second line. The parent never needed the right to open it.
//
// Limits: one file; the number of descriptors in flight is limited as those of a process are.
#include "lib/pass_fd.h"

#include <fcntl.h>
#include <sys/wait.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <string>

#include "lib/check.h"
#include "lib/child.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/stream.h"

namespace {

/// Read up to the end of the first line, byte by byte: what would be read too much would be lost to the parent.
void skip_line(int fd) {
  char byte = 0;
  while (check("read", uninterrupted([&] { return read(fd, &byte, 1); })) == 1 && byte != '\n') {
  }
}

/// The child: the descriptor, or errno in the byte beside it.
int open_and_send(const std::string& path, int socket) {
  const Fd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) {
    send_byte(socket, static_cast<unsigned char>(errno));
    return 0;
  }
  skip_line(file.get());
#ifdef MUTANT_FD_NUMBER
  send_byte(socket, static_cast<unsigned char>(-file.get()));
#else
  send_fd(socket, file.get());
#endif
  return 0;
}

void print_rest(int fd) {
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t count = check("read", uninterrupted([&] { return read(fd, buffer.data(), buffer.size()); }));
    if (count == 0) return;
    if (!write_all(STDOUT_FILENO, {buffer.data(), static_cast<std::size_t>(count)})) check("write", -1);
  }
}

void pass(int argc, char** argv) {
  std::string path;
  parse(argc, argv, "print a file from its second line on, which another process has opened",
        {{"--file", "FILE", "what to open", &path}});
  if (path.empty()) throw UsageError("--file FILE is missing");
  std::array<Fd, 2> ends = socket_pair();
  Fd& ours = ends[0];
  Fd& theirs = ends[1];
  const pid_t child = fork_child([&] { return open_and_send(path, theirs.get()); });
  theirs.reset();  // or a child that dies would leave the parent waiting for ever
  const Received received = receive_fd(ours.get());
  check("waitpid", uninterrupted([&] { return waitpid(child, nullptr, 0); }));
  if (!received.fd) throw std::system_error(received.byte, std::generic_category(), "open " + path);
  write_all(STDOUT_FILENO, "opened by " + std::to_string(child) + "\n");
  print_rest(received.fd.get());
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { pass(argc, argv); });
}
