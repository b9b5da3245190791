/// The head of an HTTP/1.1 response.
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

#include "http/status.h"

namespace http {

/// Writes a head at the end of a text:
///
///     HeadWriter(out, Status::kOk).field("Date", date).field("Content-Length", size).end();
class HeadWriter {
 public:
  HeadWriter(std::string& out, Status status);

  HeadWriter& field(std::string_view name, std::string_view value);

  HeadWriter& field(std::string_view name, std::unsigned_integral auto value) {
    std::array<char, 20> digits;
    const auto [end, error] = std::to_chars(digits.begin(), digits.end(), value);
    return field(name, std::string_view(digits.begin(), end));
  }

  /// The empty line.
  void end();

 private:
  std::string& out_;
};

/// Return a small page that says what the status is, for people who look at it in a browser.
std::string error_page(Status status);

}  // namespace http
