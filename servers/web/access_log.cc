#include "web/access_log.h"

#include <unistd.h>

#include <array>
#include <utility>

#include "lib/address.h"
#include "lib/check.h"

namespace web {

namespace {

/// "10.0.1.2" of a socket's peer; "-" if it is gone already.
std::string peer_of(int socket) {
  Address address;
  if (getpeername(socket, address.get(), address.size_pointer()) < 0) return "-";
  const std::string text = address.text();
  return text.substr(0, text.rfind(':'));
}

std::string time_of(std::time_t now) {
  std::tm parts{};
  gmtime_r(&now, &parts);
  std::array<char, 64> text{};
  return {text.data(), std::strftime(text.data(), text.size(), "%d/%b/%Y:%H:%M:%S +0000", &parts)};
}

/// A client must not be able to write lines of its own.
std::string escaped(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string found;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
#ifdef MUTANT_LOG_RAW
    if (byte == 0) {
#else
    if (byte < 0x20 || byte >= 0x7f || c == '"' || c == '\\') {
#endif
      found += "\\x";
      found += kDigits[byte >> 4U];
      found += kDigits[byte & 15U];
    } else {
      found += c;
    }
  }
  return found;
}

}  // namespace

void AccessLog::add(int socket, std::time_t now, std::string_view request, http::Status status, std::uint64_t content) {
  lines_ += peer_of(socket) + " - - [" + time_of(now) + "] \"" + escaped(request) + "\" " +
            std::to_string(static_cast<int>(status)) + " " + std::to_string(content) + "\n";
  ++count_;
}

std::uint64_t AccessLog::flush() {
  if (lines_.empty()) return 0;
  const ssize_t written = uninterrupted([&] { return write(file_, lines_.data(), lines_.size()); });
  const bool is_whole = written == static_cast<ssize_t>(lines_.size());
  lines_.clear();
  return std::exchange(count_, 0) * (is_whole ? 0U : 1U);
}

}  // namespace web
