#include "http/request_parser.h"

#include <algorithm>

#include "http/text.h"

namespace http {

namespace {

bool is_control(char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; }

/// What may stand in a target. Bytes beyond ASCII should be encoded, but are no danger, and old links have them.
bool is_target_character(char c) { return !is_control(c) && c != ' ' && c != '\t'; }

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// What may stand in a host with a port: a name or an address, with parts of it encoded (RFC 3986 section 3.2.2).
bool is_host_character(char c) {
  const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return is_letter || is_digit(c) || std::string_view("-._~!$&'()*+,;=%:[]").find(c) != std::string_view::npos;
}

}  // namespace

RequestParser::State RequestParser::parse(std::string_view buffer) {
  buffer_ = buffer;
  while (state_ < State::kDone) {
    const std::size_t end = buffer.find('\n', scanned_);
    if (end == std::string_view::npos) {
      scanned_ = buffer.size();
      return too_long();
    }
    std::string_view line = buffer.substr(next_, end - next_);
    if (line.ends_with('\r')) line.remove_suffix(1);
    scanned_ = end + 1;
    if (too_long() == State::kFailed) break;
    next_ = scanned_;
    take_line(line);
  }
  return state_;
}

void RequestParser::reset() {
  auto fields = std::move(fields_);  // keeps what they have of memory
  fields.clear();
  *this = RequestParser(limits_);
  fields_ = std::move(fields);
}

std::optional<std::string_view> RequestParser::field(std::string_view name) const {
  for (const FieldSpan& field : fields_)
    if (same_letters(view(field.name), name)) return view(field.value);
  return std::nullopt;
}

RequestParser::Span RequestParser::span(std::string_view part) const {
  return {static_cast<std::uint32_t>(part.data() - buffer_.data()), static_cast<std::uint32_t>(part.size())};
}

RequestParser::State RequestParser::fail(Status status, const char* why) {
  error_ = status;
  why_ = why;
  return state_ = State::kFailed;
}

/// Refuse what has come up to `scanned_` if that is too much, whether or not the end of a line is among it.
///
/// The limit that the first byte too many is beyond decides on the answer, so that it is the same however they came.
RequestParser::State RequestParser::too_long() {
  const bool in_request_line = state_ == State::kRequestLine && next_ + limits_.request_line <= limits_.head;
  if (scanned_ <= (in_request_line ? next_ + limits_.request_line : limits_.head)) return state_;
  return in_request_line ? fail(Status::kUriTooLong, "the request line is too long")
                         : fail(Status::kFieldsTooLarge, "the head is too large");
}

void RequestParser::take_line(std::string_view line) {
  if (state_ == State::kRequestLine) {
    // Empty lines before a request are what some clients put behind the body of the one before (RFC 9112 section 2.2).
    if (!line.empty()) take_request_line(line);
  } else if (line.empty()) {
    finish();
  } else {
    take_field(line);
  }
}

void RequestParser::take_request_line(std::string_view line) {
  const std::size_t first = line.find(' ');
  const std::size_t second = first == std::string_view::npos ? first : line.find(' ', first + 1);
  if (second == std::string_view::npos) {
    fail(Status::kBadRequest, "the request line has not three parts");
    return;
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  if (!is_token(method)) {
    fail(Status::kBadRequest, "the method is no token");
  } else if (target.empty() || !std::ranges::all_of(target, is_target_character)) {
    fail(Status::kBadRequest, "the target has characters that no target has");
  } else {
    method_ = span(method);
    target_ = span(target);
    state_ = State::kFields;
    take_version(line.substr(second + 1));
  }
}

void RequestParser::take_version(std::string_view version) {
  if (version.size() != 8 || !version.starts_with("HTTP/") || !is_digit(version[5]) || version[6] != '.' ||
      !is_digit(version[7])) {
    fail(Status::kBadRequest, "the version is none of HTTP's");
  } else if (version[5] != '1') {
    fail(Status::kVersionNotSupported, "only HTTP/1 is spoken here");
  } else {
    minor_version_ = version[7] == '0' ? 0 : 1;
  }
}

void RequestParser::take_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  // A space before the colon, or a line that goes on with the one before, is how a request gets past a proxy that
  // reads it in another way than the server behind it (RFC 9112 sections 5.1 and 5.2).
  if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
    fail(Status::kBadRequest, "a field has no proper name");
    return;
  }
  const std::string_view value = trim(line.substr(colon + 1));
  if (std::ranges::any_of(value, is_control)) {
    fail(Status::kBadRequest, "a field's value has a control character");
  } else if (fields_.size() == limits_.fields) {
    fail(Status::kFieldsTooLarge, "there are too many fields");
  } else {
    fields_.push_back({span(line.substr(0, colon)), span(value)});
  }
}

/// Draw from the fields what the connection needs to know.
void RequestParser::finish() {
  state_ = State::kDone;
  take_host();
  take_connection();
  take_framing();
}

void RequestParser::take_host() {
  const auto is_host = [this](const FieldSpan& field) { return same_letters(view(field.name), "host"); };
  const auto count = std::ranges::count_if(fields_, is_host);
  if (count > 1 || (count == 0 && minor_version_ == 1)) {
    fail(Status::kBadRequest, "there is not one Host field");
    return;
  }
  // It may be empty, where the target has no host either (RFC 9112 section 3.2).
  if (!std::ranges::all_of(field("host").value_or(""), is_host_character))
    fail(Status::kBadRequest, "the Host field names no host");
}

void RequestParser::take_connection() {
  keep_alive_ = minor_version_ == 1;
  for (const FieldSpan& field : fields_) {
    if (!same_letters(view(field.name), "connection")) continue;
    if (minor_version_ == 0 && list_has(view(field.value), "keep-alive")) keep_alive_ = true;
    if (list_has(view(field.value), "close")) {
      keep_alive_ = false;
      break;
    }
  }
  const auto expect = field("expect");
  expects_continue_ = minor_version_ == 1 && expect && same_letters(*expect, "100-continue");
}

/// Find out how the body is delimited (RFC 9112 section 6.3).
void RequestParser::take_framing() {
  bool has_length = false;
  bool has_coding = false;
  for (const FieldSpan& field : fields_) {
    if (same_letters(view(field.name), "content-length")) {
      take_length(view(field.value), has_length);
    } else if (same_letters(view(field.name), "transfer-encoding")) {
      chunked_ = !has_coding && same_letters(view(field.value), "chunked");
      has_coding = true;
    }
  }
  if (state_ == State::kFailed) return;
  if (has_coding && (has_length || minor_version_ == 0)) {
    fail(Status::kBadRequest, "the body's length is told in two ways");
  } else if (has_coding && !chunked_) {
    fail(Status::kNotImplemented, "only the chunked transfer coding is known here");
  } else if (content_length_ > limits_.body) {
    fail(Status::kContentTooLarge, "the body is too large");
  } else if (!has_coding && !has_length && (method() == "POST" || method() == "PUT" || method() == "PATCH")) {
    fail(Status::kLengthRequired, "a request with a body tells its length");
  }
}

/// Take a Content-Length, which may come more than once, and as a list, as long as all say the same.
void RequestParser::take_length(std::string_view value, bool& seen) {
  do {
    const auto length = decimal(next_in_list(value).value_or(""));
    if (!length || (seen && *length != content_length_)) {
      fail(Status::kBadRequest, "Content-Length is no number, or says two things");
      return;
    }
    content_length_ = *length;
    seen = true;
  } while (!value.empty());
}

}  // namespace http
