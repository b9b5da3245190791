/// Conditional requests (RFC 9110 section 13).
#pragma once

#include <cstdint>
#include <ctime>
#include <string>
#include <string_view>

#include "http/request_parser.h"

namespace http {

/// Return a file's entity tag, in its quotes: it changes with the file.
std::string entity_tag(std::time_t modified, long nanoseconds, std::uint64_t size);

enum class Verdict {
  kServe,
  kNotModified,  ///< the client has it already: 304
  kFailed,       ///< it is not the one that the client means: 412
};

/// Return what a request's conditions say of a file, in the order of RFC 9110 section 13.2.2.
Verdict judge(const RequestParser& request, std::string_view tag, std::time_t modified);

/// Whether the request's Range counts: If-Range, if there, names the file as it is.
bool range_applies(const RequestParser& request, std::string_view tag, std::time_t modified);

}  // namespace http
