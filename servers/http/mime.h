/// Media types by the ends of file names.
#pragma once

#include <string_view>

namespace http {

/// Return what Content-Type says of a file: "text/html; charset=utf-8"; "application/octet-stream" if nothing is known.
std::string_view content_type(std::string_view path);

}  // namespace http
