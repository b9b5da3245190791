#include "http/target.h"

#include <algorithm>

#include "http/text.h"

namespace http {

namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("-._~/!$&'()*+,;=:@").find(c) != std::string_view::npos;
}

}  // namespace

std::optional<Target> split_target(std::string_view target) {
  const std::size_t scheme = target.find("://");
  if (!target.starts_with('/') && scheme != std::string_view::npos && same_letters(target.substr(0, scheme), "http")) {
    target.remove_prefix(scheme + 3);
    const std::size_t authority = std::min(target.find_first_of("/?"), target.size());
    if (authority == 0) return std::nullopt;
    target.remove_prefix(authority);
    if (!target.starts_with('/')) return Target{"/", target.empty() ? target : target.substr(1)};
  }
  if (!target.starts_with('/')) return std::nullopt;
  const std::size_t question = std::min(target.find('?'), target.size());
  return Target{target.substr(0, question), target.substr(std::min(question + 1, target.size()))};
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string decoded;
  decoded.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      decoded += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return std::nullopt;
    decoded += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return decoded;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string encoded;
  for (const char c : text) {
    if (is_plain(c)) {
      encoded += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      encoded += '%';
      encoded += kDigits[byte >> 4U];
      encoded += kDigits[byte & 15U];
    }
  }
  return encoded;
}

std::optional<std::string> normalise(std::string_view path) {
  std::string found;
  found.reserve(path.size());
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    const std::string_view step = path.substr(0, end);
    const bool is_folder = end < path.size();
    path.remove_prefix(std::min(end + 1, path.size()));
    if (step == "..") {
      if (found.empty()) return std::nullopt;
      const std::size_t parent = found.rfind('/', found.size() - 2);
      found.resize(parent == std::string::npos ? 0 : parent + 1);
    } else if (!step.empty() && step != ".") {
      found += step;
      if (is_folder) found += '/';
    }
  }
  return found;
}

}  // namespace http
