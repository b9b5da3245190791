#include "http/body_reader.h"

#include <algorithm>
#include <charconv>

#include "http/text.h"

namespace http {

namespace {

constexpr std::size_t kLongestLine = 1'024;  // of a chunk's size with its extensions, and of a trailer field

}  // namespace

BodyReader BodyReader::of_length(std::uint64_t length) {
  BodyReader reader;
  reader.left_ = length;
  if (length > 0) reader.state_ = State::kData;
  return reader;
}

BodyReader BodyReader::in_chunks(std::uint64_t limit) {
  BodyReader reader;
  reader.chunked_ = true;
  reader.limit_ = limit;
  reader.state_ = State::kChunkSize;
  return reader;
}

BodyReader::Piece BodyReader::next(std::string_view buffer) {
  if (done() || failed() || buffer.empty()) return {};
  if (state_ != State::kData) return line(buffer);
  const std::string_view content = buffer.substr(0, std::min<std::uint64_t>(left_, buffer.size()));
  left_ -= content.size();
  if (left_ == 0) state_ = chunked_ ? State::kChunkEnd : State::kDone;
  return {content.size(), content};
}

/// Take one of the lines that stand around chunks.
BodyReader::Piece BodyReader::line(std::string_view buffer) {
  const std::size_t end = buffer.find('\n');
  if (end == std::string_view::npos ? buffer.size() > kLongestLine : end > kLongestLine) {
    state_ = State::kFailed;
    return {};
  }
  if (end == std::string_view::npos) return {};
  // Unlike in a head, a line must end with both: who takes one alone for an end finds other chunks than his neighbour.
  if (end == 0 || buffer[end - 1] != '\r') {
    state_ = State::kFailed;
    return {};
  }
  const std::string_view text = buffer.substr(0, end - 1);
  if (state_ == State::kChunkSize) {
    take_chunk_size(text);
  } else if (state_ == State::kChunkEnd) {
    state_ = text.empty() ? State::kChunkSize : State::kFailed;
  } else if (text.empty()) {  // trailer fields are passed over
    state_ = State::kDone;
  }
  return {failed() ? 0 : end + 1, {}};
}

void BodyReader::take_chunk_size(std::string_view text) {
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, left_, 16);
  const std::string_view extension = trim(std::string_view(stopped, static_cast<std::size_t>(end - stopped)));
  if (error != std::errc{} || (!extension.empty() && !extension.starts_with(';'))) {
    state_ = State::kFailed;
  } else if (left_ > limit_) {
    state_ = State::kTooLarge;
  } else {
    limit_ -= left_;
    state_ = left_ == 0 ? State::kTrailer : State::kData;
  }
}

}  // namespace http
