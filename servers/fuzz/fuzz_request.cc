// Whatever bytes come, in whatever pieces, the parser finds the same in them, and never leaves the buffer.
//
// The input is taken for a connection's stream: requests with their bodies one behind the other. It is read twice, all
// at once and in pieces whose sizes come from the input itself, and what was understood must be the same. What is
// drawn from a request behind the parser is tried on the way: paths, ranges, dates, conditions.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/body_reader.h"
#include "http/conditions.h"
#include "http/range.h"
#include "http/request_parser.h"
#include "http/target.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

/// A path that is served begins below the root and stays there.
void try_path(std::string_view text) {
  const auto target = http::split_target(text);
  if (!target) return;
  const auto decoded = http::percent_decode(target->path);
  if (!decoded) return;
  require(http::percent_decode(http::percent_encode(*decoded)) == decoded);
  const auto path = http::normalise(*decoded);
  if (!path) return;
  require(!path->starts_with('/') && ("/" + *path + "/").find("/../") == std::string::npos);
  require(http::normalise(*path) == path);
}

void try_fields(const http::RequestParser& parser) {
  constexpr std::uint64_t kSize = 1'000;
  const http::Range range = http::parse_range(parser.field("range").value_or(""), kSize);
  if (range.kind == http::Range::Kind::kPart) require(range.size > 0 && range.first + range.size <= kSize);
  http::judge(parser, "\"tag\"", 784'111'777);
  http::range_applies(parser, "\"tag\"", 784'111'777);
}

/// Reads a stream in pieces and writes down what it understands.
class Reader {
 public:
  /// Take in the next piece; false when the stream makes no sense any more.
  bool take(std::string_view piece) {
    buffer_.append(piece);
    while (step()) {
    }
    return !failed_;
  }

  [[nodiscard]] const std::string& understood() const { return understood_; }

 private:
  bool step() {
    if (!in_body_) {
      // An exact copy, so that a step beyond its end is seen.
      const std::string exact(buffer_);
      const auto state = parser_.parse(exact);
      if (state == http::RequestParser::State::kFailed) return fail(static_cast<int>(parser_.error()));
      if (state < http::RequestParser::State::kDone) return false;
      describe();
      buffer_.erase(0, parser_.size());
      body_ = parser_.chunked() ? http::BodyReader::in_chunks(http::Limits{}.body)
                                : http::BodyReader::of_length(parser_.content_length());
      in_body_ = true;
    }
    const auto piece = body_.next(buffer_);
    understood_ += piece.content;
    buffer_.erase(0, piece.consumed);
    if (body_.failed()) return fail(body_.too_large() ? 413 : 400);
    if (body_.done()) {
      in_body_ = false;
      parser_.reset();
      understood_ += "\n.\n";
      return !buffer_.empty();
    }
    return piece.consumed > 0;
  }

  bool fail(int status) {
    understood_ += "failed " + std::to_string(status);
    failed_ = true;
    return false;
  }

  void describe() {
    understood_ += std::string(parser_.method()) + " " + std::string(parser_.target()) + " " +
                   std::to_string(parser_.minor_version()) + (parser_.keep_alive() ? " keep" : " close") + "\n";
    for (std::size_t i = 0; i < parser_.field_count(); ++i) {
      const auto [name, value] = parser_.field_at(i);
      understood_ += std::string(name) + ":" + std::string(value) + "\n";
    }
    try_path(parser_.target());
    try_fields(parser_);
  }

  std::string buffer_;
  std::string understood_;
  http::RequestParser parser_;
  http::BodyReader body_;
  bool in_body_ = false;
  bool failed_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view stream(reinterpret_cast<const char*>(data), size);
  Reader whole;
  whole.take(stream);

  Reader pieces;
  std::size_t place = 0;
  while (place < size) {
    const std::size_t length = std::min<std::size_t>(1 + data[place] % 7, size - place);
    if (!pieces.take(stream.substr(place, length))) break;
    place += length;
  }
  require(whole.understood() == pieces.understood());
  return 0;
}
