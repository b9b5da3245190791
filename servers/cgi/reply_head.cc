#include "cgi/reply_head.h"

#include <algorithm>
#include <ctime>

#include "http/date.h"
#include "http/status.h"
#include "http/text.h"

namespace cgi {

namespace {

/// Take "404" or "404 Not Found" apart; false if it is neither.
bool take_status(std::string_view value, int& status, std::string& reason) {
  const std::size_t end = value.find(' ');
  const auto code = http::decimal(value.substr(0, end));
  if (!code || *code < 200 || *code > 599) return false;
  status = static_cast<int>(*code);
  reason = end == std::string_view::npos ? http::reason(static_cast<http::Status>(status))
                                         : http::trim(value.substr(end + 1));
  return true;
}

bool is_servers_own(std::string_view name) {
  return http::same_letters(name, "date") || http::same_letters(name, "connection") ||
         http::same_letters(name, "transfer-encoding") || http::same_letters(name, "keep-alive");
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char character) {
    return (character >= 0 && character < ' ' && character != '\t') || character == 127;
  });
}

}  // namespace

std::size_t end_of_head(std::string_view written) {
  std::size_t begin = 0;
  for (std::size_t end = 0; (end = written.find('\n', begin)) != std::string_view::npos; begin = end + 1)
    if (end == begin || (end == begin + 1 && written[begin] == '\r')) return end + 1;
  return 0;
}

std::optional<ReplyHead> reply_head(std::string_view head) {
  ReplyHead found;
  std::string reason = "OK";
  std::string fields;
  bool has_status = false;
  bool has_location = false;
  bool has_type = false;
  while (!head.empty()) {
    const std::size_t end = head.find('\n');
    std::string_view line = head.substr(0, end);
    head.remove_prefix(end == std::string_view::npos ? head.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) break;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || has_control(line) || !http::is_token(line.substr(0, colon)))
      return std::nullopt;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = http::trim(line.substr(colon + 1));
    if (http::same_letters(name, "status")) {
      if (!take_status(value, found.status, reason)) return std::nullopt;
      has_status = true;
      continue;
    }
    has_location = has_location || http::same_letters(name, "location");
    has_type = has_type || http::same_letters(name, "content-type");
    if (!is_servers_own(name)) fields.append(name).append(": ").append(value).append("\r\n");
  }
  if (!has_status && !has_location && !has_type) return std::nullopt;
  if (has_location && !has_status) {
    found.status = 302;
    reason = "Found";
  }
  found.text = "HTTP/1.1 " + std::to_string(found.status) + " " + reason +
               "\r\nDate: " + http::format_date(std::time(nullptr)) + "\r\nConnection: close\r\n" + fields + "\r\n";
  return found;
}

}  // namespace cgi
