#include "load_generator/response_parser.h"

#include <algorithm>
#include <charconv>

#include "http/text.h"

namespace {

constexpr std::size_t kLongestHead = 65'536;
constexpr std::string_view kNewLine = "\r\n";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

std::size_t ResponseParser::feed(std::string_view data) {
  std::size_t used = 0;
  while (used < data.size() && !complete() && !malformed()) {
    const std::string_view rest = data.substr(used);
    if (state_ == State::Body)
      used += take_counted(rest, State::Complete);
    else if (state_ == State::Chunk)
      used += take_counted(rest, State::ChunkEnd);
    else if (state_ == State::UntilClose)
      used += rest.size();
    else
      used += take_line(rest);
  }
  return used;
}

void ResponseParser::end() {
  if (state_ == State::UntilClose) state_ = State::Complete;
}

std::size_t ResponseParser::take_counted(std::string_view data, State next) {
  const std::size_t count = std::min<std::uint64_t>(left_, data.size());
  left_ -= count;
  if (left_ == 0) state_ = next;
  return count;
}

std::size_t ResponseParser::take_line(std::string_view data) {
  const std::size_t end = data.find('\n');
  const std::string_view piece = data.substr(0, end == std::string_view::npos ? end : end + 1);
  line_ += piece;
  head_ += piece.size();
  if (head_ > kLongestHead) {
    state_ = State::Malformed;
  } else if (end != std::string_view::npos) {
    if (line_.ends_with(kNewLine))
      read_line(std::string_view(line_).substr(0, line_.size() - kNewLine.size()));
    else
      state_ = State::Malformed;
    line_.clear();
  }
  return piece.size();
}

void ResponseParser::read_line(std::string_view line) {
  switch (state_) {
    case State::StatusLine:
      return read_status_line(line);
    case State::Header:
      return line.empty() ? end_head() : read_header(line);
    case State::ChunkSize:
      return read_chunk_size(line);
    case State::ChunkEnd:
      state_ = line.empty() ? State::ChunkSize : State::Malformed;
      return;
    default:  // of a trailer nothing matters but its end
      if (line.empty()) state_ = State::Complete;
  }
}

/// "HTTP/1.1 200 OK"; where the reason is missing, so is often the blank in front of it.
void ResponseParser::read_status_line(std::string_view line) {
  constexpr std::string_view kVersion = "HTTP/1.";
  constexpr std::size_t kShortest = 12;
  if (line.size() < kShortest || !line.starts_with(kVersion) || !is_digit(line[7]) || line[8] != ' ' ||
      !std::ranges::all_of(line.substr(9, 3), is_digit) || (line.size() > kShortest && line[kShortest] != ' ')) {
    state_ = State::Malformed;
    return;
  }
  std::from_chars(line.data() + 9, line.data() + kShortest, status_);
  keeps_alive_ = line[7] != '0';
  state_ = status_ >= 100 ? State::Header : State::Malformed;
}

void ResponseParser::read_header(std::string_view line) {
  const std::size_t colon = line.find(':');
  const std::string_view name = line.substr(0, colon);
  if (colon == std::string_view::npos || name.empty() || name.find_first_of(" \t") != std::string_view::npos) {
    state_ = State::Malformed;
    return;
  }
  const std::string_view value = http::trim(line.substr(colon + 1));
  if (http::same_letters(name, "Content-Length")) {
    read_length(value);
  } else if (http::same_letters(name, "Transfer-Encoding")) {
    chunked_ = http::list_has(value, "chunked");
    until_close_ = !chunked_;
  } else if (http::same_letters(name, "Connection")) {
    if (http::list_has(value, "close"))
      keeps_alive_ = false;
    else if (http::list_has(value, "keep-alive"))
      keeps_alive_ = true;
  }
}

void ResponseParser::read_length(std::string_view value) {
  std::uint64_t length = 0;
  const auto [stopped, error] = std::from_chars(value.data(), value.data() + value.size(), length);
  const bool is_number = error == std::errc{} && stopped == value.data() + value.size();
  if (!is_number || (length_ && *length_ != length)) state_ = State::Malformed;
  length_ = length;
}

/// "1a0", maybe with extensions after a semicolon.
void ResponseParser::read_chunk_size(std::string_view line) {
  const std::string_view digits = http::trim(line.substr(0, line.find(';')));
  const auto [stopped, error] = std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  if (error != std::errc{} || stopped != digits.data() + digits.size()) {
    state_ = State::Malformed;
    return;
  }
  head_ = 0;  // however many chunks there are
  state_ = left_ == 0 ? State::Trailer : State::Chunk;
}

/// RFC 9112, section 6.3: how the end of the body is known.
void ResponseParser::end_head() {
  if (status_ < 200) {  // an interim response: the one that counts follows
    const std::size_t head = head_;
    *this = ResponseParser();
    head_ = head;
  } else if (status_ == 204 || status_ == 304) {
    state_ = State::Complete;
  } else if (length_ && (chunked_ || until_close_)) {
    state_ = State::Malformed;  // two ways to tell, as in an attempt to smuggle a response
  } else if (chunked_) {
    state_ = State::ChunkSize;
  } else if (length_) {
    left_ = *length_;
    state_ = left_ == 0 ? State::Complete : State::Body;
  } else {
    keeps_alive_ = false;
    state_ = State::UntilClose;
  }
}
