/// Dates as HTTP writes them (RFC 9110 section 5.6.7).
#pragma once

#include <ctime>
#include <optional>
#include <string>
#include <string_view>

namespace http {

/// Return "Sun, 06 Nov 1994 08:49:37 GMT".
std::string format_date(std::time_t time);

/// Return the time of a date in any of the three forms that there are; nothing if it is none.
std::optional<std::time_t> parse_date(std::string_view text);

}  // namespace http
