/// The head of an HTTP/1.x request, parsed while it comes in (RFC 9112; book 8.6).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "http/status.h"

namespace http {

/// How much a client may send.
struct Limits {
  std::size_t request_line = 8'192;  ///< bytes; more is 414
  std::size_t head = 16'384;         ///< bytes of the request line and all fields; more is 431
  std::size_t fields = 100;          ///< lines; more is 431
  std::uint64_t body = 1'048'576;    ///< bytes of content; more is 413
};

/// Finds a request's parts in a buffer that belongs to the caller, without copying any.
///
///     RequestParser parser;
///     while (parser.parse(buffer) < RequestParser::State::kDone) read_more_into(buffer);
///
/// The buffer begins with the request's first byte and has grown at its end by the next call; it may have moved in
/// memory. Bytes that were looked at once are not looked at again. What is returned as a view points into the buffer
/// of the last call, and is good until the buffer changes. There is no I/O and no clock here.
class RequestParser {
 public:
  enum class State {
    kRequestLine,  ///< its end has not come
    kFields,       ///< the empty line behind them has not come
    kDone,         ///< the head is complete; the body, if any, is a BodyReader's matter
    kFailed,       ///< this is no request that can be served; `error` is the answer, and then the connection ends
  };

  explicit RequestParser(const Limits& limits = {}) : limits_(limits) {}

  /// Go on as far as the buffer goes.
  State parse(std::string_view buffer);

  /// Begin again, with the next request's first byte.
  void reset();

  [[nodiscard]] State state() const { return state_; }

  /// What to answer to a request that failed, and why in a few words.
  [[nodiscard]] Status error() const { return error_; }
  [[nodiscard]] const char* why() const { return why_; }

  /// How many bytes of the buffer the head takes, with the empty line; the body begins there.
  [[nodiscard]] std::size_t size() const { return next_; }

  // From here on: when the head is done; method and target from kFields on.

  [[nodiscard]] std::string_view method() const { return view(method_); }
  [[nodiscard]] std::string_view target() const { return view(target_); }

  /// 0 or 1 for HTTP/1.0 and HTTP/1.1; a later 1.x counts as 1.1.
  [[nodiscard]] int minor_version() const { return minor_version_; }

  /// Return a field's value, of the first one if there are several; nothing if there is none.
  [[nodiscard]] std::optional<std::string_view> field(std::string_view name) const;

  [[nodiscard]] std::size_t field_count() const { return fields_.size(); }

  /// Return name and value of a field, by its place.
  [[nodiscard]] std::pair<std::string_view, std::string_view> field_at(std::size_t index) const {
    return {view(fields_[index].name), view(fields_[index].value)};
  }

  /// Whether the client means to go on with this connection (RFC 9112 section 9.3).
  [[nodiscard]] bool keep_alive() const { return keep_alive_; }

  /// Whether the body comes in chunks; else it has `content_length` bytes, 0 if there is none.
  [[nodiscard]] bool chunked() const { return chunked_; }
  [[nodiscard]] std::uint64_t content_length() const { return content_length_; }
  [[nodiscard]] bool has_body() const { return chunked_ || content_length_ > 0; }

  /// Whether the client waits for "100 Continue" before it sends the body.
  [[nodiscard]] bool expects_continue() const { return expects_continue_; }

 private:
  /// A part of the buffer.
  struct Span {
    std::uint32_t begin = 0;
    std::uint32_t size = 0;
  };
  struct FieldSpan {
    Span name;
    Span value;
  };

  [[nodiscard]] std::string_view view(Span span) const { return buffer_.substr(span.begin, span.size); }
  [[nodiscard]] Span span(std::string_view part) const;
  State fail(Status status, const char* why);
  State too_long();
  void take_line(std::string_view line);
  void take_request_line(std::string_view line);
  void take_version(std::string_view version);
  void take_field(std::string_view line);
  void finish();
  void take_host();
  void take_connection();
  void take_framing();
  void take_length(std::string_view value, bool& seen);

  Limits limits_;
  std::string_view buffer_;
  std::size_t next_ = 0;     // where the line that is not complete begins
  std::size_t scanned_ = 0;  // up to here it has no end
  State state_ = State::kRequestLine;
  Status error_ = Status::kOk;
  const char* why_ = "";
  Span method_;
  Span target_;
  int minor_version_ = 1;
  std::vector<FieldSpan> fields_;
  bool keep_alive_ = false;
  bool chunked_ = false;
  bool expects_continue_ = false;
  std::uint64_t content_length_ = 0;
};

}  // namespace http
