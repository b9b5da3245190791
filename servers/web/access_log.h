/// A line for each request, in the common log format.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

#include "http/status.h"

namespace web {

/// Collects one worker's lines and appends them to the file many at a time, whole lines always.
///
/// The file is opened for appending and shared: every write goes to its end, so workers need no lock.
class AccessLog {
 public:
  /// @param file borrowed; -1 for no log
  explicit AccessLog(int file) : file_(file) {}

  [[nodiscard]] bool enabled() const { return file_ >= 0; }
  [[nodiscard]] bool empty() const { return lines_.empty(); }

  /// Add a line.
  ///
  /// @param socket whose peer has asked
  /// @param request the request line as it came; what is not printable is escaped
  /// @param content bytes of content that the answer has
  void add(int socket, std::time_t now, std::string_view request, http::Status status, std::uint64_t content);

  /// Write what is there; return how many lines could not be written, on a full disk say.
  [[nodiscard]] std::uint64_t flush();

  /// Whether there is enough to make a write worth its while.
  [[nodiscard]] bool is_large() const { return lines_.size() >= 16'384; }

 private:
  int file_;
  std::string lines_;
  std::uint64_t count_ = 0;
};

}  // namespace web
