/// What a request asks for: from the request line's target to the path of a file (RFC 3986, RFC 9112 section 3.2).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace http {

/// A target in its two parts, as they came, not decoded.
struct Target {
  std::string_view path;   ///< begins with "/"
  std::string_view query;  ///< without the "?"
};

/// Return path and query of "/a?b" and of "http://host/a?b"; nothing of anything else.
std::optional<Target> split_target(std::string_view target);

/// Return `text` with its %XX decoded; nothing if one is malformed or stands for a NUL, which no path can have.
std::optional<std::string> percent_decode(std::string_view text);

/// Return `text` with everything encoded that is not plain in a path.
std::string percent_encode(std::string_view text);

/// Return a decoded path relative to the root it is under: "/a//./b/../c/" becomes "a/c/", and "/" becomes "".
///
/// Nothing if it leads out of the root at any point, as "/../etc/passwd" and "/a/../../b" do. To decode behind this
/// check is to have none: "%2e%2e" is "..".
std::optional<std::string> normalise(std::string_view path);

}  // namespace http
