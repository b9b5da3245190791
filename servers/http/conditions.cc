#include "http/conditions.h"

#include <array>
#include <cstdio>

#include "http/date.h"
#include "http/text.h"

namespace http {

namespace {

/// Whether a list of tags, or "*", has this one. The tags are of the server's own making and have no commas.
bool names(std::string_view list, std::string_view tag, bool weak_is_enough) {
  while (const auto found = next_in_list(list)) {
    std::string_view candidate = *found;
    if (weak_is_enough && candidate.starts_with("W/")) candidate.remove_prefix(2);
    if (candidate == "*" || candidate == tag) return true;
  }
  return false;
}

}  // namespace

std::string entity_tag(std::time_t modified, long nanoseconds, std::uint64_t size) {
  std::array<char, 64> text{};
  const int length =
      std::snprintf(text.data(), text.size(), "\"%llx.%lx-%llx\"", static_cast<unsigned long long>(modified),
                    static_cast<unsigned long>(nanoseconds), static_cast<unsigned long long>(size));
  return {text.data(), static_cast<std::size_t>(length)};
}

Verdict judge(const RequestParser& request, std::string_view tag, std::time_t modified) {
  if (const auto wanted = request.field("if-match")) {
    if (!names(*wanted, tag, /*weak_is_enough=*/false)) return Verdict::kFailed;
  } else if (const auto unmodified = request.field("if-unmodified-since")) {
    const auto date = parse_date(*unmodified);
    if (date && modified > *date) return Verdict::kFailed;
  }
  if (const auto unwanted = request.field("if-none-match"))
    return names(*unwanted, tag, /*weak_is_enough=*/true) ? Verdict::kNotModified : Verdict::kServe;
  if (const auto since = request.field("if-modified-since")) {
    const auto date = parse_date(*since);
    if (date && modified <= *date) return Verdict::kNotModified;
  }
  return Verdict::kServe;
}

bool range_applies(const RequestParser& request, std::string_view tag, std::time_t modified) {
  const auto wanted = request.field("if-range");
  if (!wanted) return true;
  return *wanted == tag || parse_date(*wanted) == modified;
}

}  // namespace http
