#include "http/range.h"

#include <algorithm>
#include <optional>

#include "http/text.h"

namespace http {

Range parse_range(std::string_view value, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  if (!same_letters(value.substr(0, kUnit.size()), kUnit)) return {};
  value = trim(value.substr(kUnit.size()));
  const std::size_t dash = value.find('-');
  if (dash == std::string_view::npos) return {};
  const auto first = decimal(value.substr(0, dash));
  const auto last = decimal(value.substr(dash + 1));
  const bool is_open = dash + 1 == value.size();  // "500-": from there to the end

  if (dash == 0) {  // "-500": the last 500 bytes
    if (!last) return {};
    if (*last == 0 || size == 0) return {Range::Kind::kUnsatisfiable, 0, 0};
    const std::uint64_t part = std::min(*last, size);
    return {Range::Kind::kPart, size - part, part};
  }
  if (!first || (!is_open && (!last || *last < *first))) return {};
  if (*first >= size) return {Range::Kind::kUnsatisfiable, 0, 0};
  const std::uint64_t end = is_open ? size - 1 : std::min(*last, size - 1);
  return {Range::Kind::kPart, *first, end - *first + 1};
}

}  // namespace http
