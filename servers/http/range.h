/// Parts of a file that a client asks for (RFC 9110 section 14).
#pragma once

#include <cstdint>
#include <string_view>

namespace http {

/// A part of a file, or why there is none.
struct Range {
  enum class Kind {
    kWhole,          ///< nothing is asked for that this server understands: the whole file
    kPart,           ///< `first` and `size`
    kUnsatisfiable,  ///< it begins behind the end: 416
  };
  Kind kind = Kind::kWhole;
  std::uint64_t first = 0;
  std::uint64_t size = 0;
};

/// Return which part of a file of `size` bytes a Range field means.
///
/// One part only: a list of several is served as the whole file, as a server may (RFC 9110 section 14.2).
Range parse_range(std::string_view value, std::uint64_t size);

}  // namespace http
