// Copies standard input to standard output and to a file, like tee(1), without seeing it. Book 6.7.
//
// tee(2) makes the pages in one pipe appear in another pipe too, and leaves them where they are; nothing is copied.
// So the input is spliced into a pipe, appears in a second one, and each of the two is spliced to where it belongs.
//
// Limits: standard output must not be open for appending (splice(2) refuses it), nor the input be a terminal that does
// not splice.
#include <fcntl.h>

#include "lib/check.h"
#include "lib/options.h"
#include "lib/pipe.h"
#include "lib/server.h"

namespace {

constexpr std::size_t kMostAtOnce = 65'536;  // what a pipe holds (pipe(7))

/// Move all of `count` bytes; a splice(2) moves as much as there is room for.
void splice_all(int from, int to, std::size_t count) {
  while (count > 0) {
    const ssize_t moved = uninterrupted([&] { return splice(from, nullptr, to, nullptr, count, SPLICE_F_MOVE); });
    count -= static_cast<std::size_t>(check("splice", moved));
#ifdef MUTANT_SHORT_SPLICE
    return;
#endif
  }
}

Pipe pipe_or_throw() {
  auto pipe = open_pipe();
  if (!pipe) check("pipe2", -1);
  return std::move(*pipe);
}

void copy(int input, int output, int file) {
  const Pipe first = pipe_or_throw();
  const Pipe second = pipe_or_throw();
  while (true) {
    const ssize_t count =
        uninterrupted([&] { return splice(input, nullptr, first.writer.get(), nullptr, kMostAtOnce, SPLICE_F_MOVE); });
    if (check("splice from the input", count) == 0) return;
    for (auto left = static_cast<std::size_t>(count); left > 0;) {
      const ssize_t seen =
          check("tee", uninterrupted([&] { return tee(first.reader.get(), second.writer.get(), left, 0); }));
      const auto both = static_cast<std::size_t>(seen);  // what is in both pipes; the second may have had less room
      splice_all(second.reader.get(), file, both);
      splice_all(first.reader.get(), output, both);
      left -= both;
    }
  }
}

void tee_to_file(int argc, char** argv) {
  std::string name;
  parse(argc, argv, "copies its input to its output and to a file",
        {{"--file", "NAME", "where to; what it held is gone", &name}});
  if (name.empty()) throw UsageError("--file NAME is missing");
#ifdef MUTANT_NOT_TRUNCATED
  constexpr int kFlags = O_WRONLY | O_CREAT | O_CLOEXEC;
#else
  constexpr int kFlags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
#endif
  const Fd file(check(name.c_str(), open(name.c_str(), kFlags, 0666)));
  copy(STDIN_FILENO, STDOUT_FILENO, file.get());
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { tee_to_file(argc, argv); });
}
