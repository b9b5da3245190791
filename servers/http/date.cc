#include "http/date.h"

#include <array>
#include <cstdio>

namespace http {

namespace {

constexpr std::array kDays{"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr std::array kMonths{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

}  // namespace

std::string format_date(std::time_t time) {
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 64> text{};
  // Not strftime: names are English here whatever the locale.
  const int size = std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                                 kDays.at(static_cast<std::size_t>(parts.tm_wday)), parts.tm_mday,
                                 kMonths.at(static_cast<std::size_t>(parts.tm_mon)), parts.tm_year + 1900,
                                 parts.tm_hour, parts.tm_min, parts.tm_sec);
  return {text.data(), static_cast<std::size_t>(size)};
}

std::optional<std::time_t> parse_date(std::string_view text) {
  // What servers send; and two old forms that are to be understood all the same, RFC 850's and asctime's.
  constexpr std::array kForms{"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"};
  const std::string ended(text);
  for (const char* form : kForms) {
    std::tm parts{};
    const char* end = strptime(ended.c_str(), form, &parts);
    if (end != nullptr && end == ended.c_str() + ended.size()) return timegm(&parts);
  }
  return std::nullopt;
}

}  // namespace http
