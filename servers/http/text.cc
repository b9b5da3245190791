#include "http/text.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace http {

namespace {

constexpr std::array<bool, 256> token_characters() {
  std::array<bool, 256> found{};
  for (int c = '0'; c <= '9'; ++c) found[static_cast<std::size_t>(c)] = true;
  for (int c = 'a'; c <= 'z'; ++c) found[static_cast<std::size_t>(c)] = true;
  for (int c = 'A'; c <= 'Z'; ++c) found[static_cast<std::size_t>(c)] = true;
  for (const char c : std::string_view("!#$%&'*+-.^_`|~")) found[static_cast<unsigned char>(c)] = true;
  return found;
}

constexpr std::array<bool, 256> kTokenCharacters = token_characters();

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

}  // namespace

bool is_token_character(char character) { return kTokenCharacters[static_cast<unsigned char>(character)]; }

bool is_token(std::string_view text) { return !text.empty() && std::ranges::all_of(text, is_token_character); }

bool same_letters(std::string_view left, std::string_view right) {
  return left.size() == right.size() && std::ranges::equal(left, right, {}, lower, lower);
}

std::string_view trim(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return text.substr(text.size());
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<std::string_view> next_in_list(std::string_view& list) {
  if (list.empty()) return std::nullopt;
  const std::size_t comma = std::min(list.find(','), list.size());
  const std::string_view element = trim(list.substr(0, comma));
  list.remove_prefix(std::min(comma + 1, list.size()));
  return element;
}

bool list_has(std::string_view list, std::string_view element) {
  while (const auto found = next_in_list(list))
    if (same_letters(*found, element)) return true;
  return false;
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  std::uint64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (text.empty() || error != std::errc{} || stopped != end) return std::nullopt;
  return value;
}

}  // namespace http
