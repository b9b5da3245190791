/// Status codes of HTTP (RFC 9110 section 15).
#pragma once

#include <string_view>

namespace http {

enum class Status : int {
  kContinue = 100,
  kOk = 200,
  kPartialContent = 206,
  kMovedPermanently = 301,
  kNotModified = 304,
  kBadRequest = 400,
  kForbidden = 403,
  kNotFound = 404,
  kMethodNotAllowed = 405,
  kRequestTimeout = 408,
  kLengthRequired = 411,
  kPreconditionFailed = 412,
  kContentTooLarge = 413,
  kUriTooLong = 414,
  kRangeNotSatisfiable = 416,
  kFieldsTooLarge = 431,
  kInternalError = 500,
  kNotImplemented = 501,
  kBadGateway = 502,
  kUnavailable = 503,
  kGatewayTimeout = 504,
  kVersionNotSupported = 505,
};

/// Return the reason phrase, "Not Found" say.
std::string_view reason(Status status);

}  // namespace http
