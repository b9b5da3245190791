/// The body of an HTTP/1.x message, of a known length or in chunks (RFC 9112 sections 6 and 7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace http {

/// Tells what of a stream is a body's content, piece by piece and without copying.
///
///     while (!body.done() && !body.failed()) {
///       const BodyReader::Piece piece = body.next(buffer);
///       if (piece.consumed == 0) break;  // more has to come
///       use(piece.content);
///       buffer.remove_prefix(piece.consumed);
///     }
class BodyReader {
 public:
  /// What was taken from the beginning of the buffer, and the content in it, which may be empty.
  struct Piece {
    std::size_t consumed = 0;
    std::string_view content;
  };

  /// A body that is empty: done from the beginning.
  BodyReader() = default;

  /// A body of `length` bytes.
  static BodyReader of_length(std::uint64_t length);

  /// A body in chunks, of at most `limit` bytes of content.
  static BodyReader in_chunks(std::uint64_t limit);

  /// Take what can be taken; `consumed` is 0 if more has to come, or if this is no body.
  Piece next(std::string_view buffer);

  /// Whether the body is complete; what follows in the buffer is the next message.
  [[nodiscard]] bool done() const { return state_ == State::kDone; }

  /// Whether it breaks the rules for chunks; the connection cannot be used any more.
  [[nodiscard]] bool failed() const { return state_ == State::kFailed || too_large(); }

  /// Whether it has more content than the limit: 413.
  [[nodiscard]] bool too_large() const { return state_ == State::kTooLarge; }

 private:
  enum class State : std::uint8_t { kDone, kData, kChunkSize, kChunkEnd, kTrailer, kFailed, kTooLarge };

  Piece line(std::string_view buffer);
  void take_chunk_size(std::string_view text);

  State state_ = State::kDone;
  bool chunked_ = false;
  std::uint64_t left_ = 0;   // of the chunk, or of all
  std::uint64_t limit_ = 0;  // how much content may still come
};

}  // namespace http
