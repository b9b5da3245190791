/// Reads HTTP/1.x responses as they come, piece by piece (RFC 9112).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

/// One response to a GET: where it ends, its status, and whether its connection can be used again.
///
/// The body is counted and not kept. Pure: it knows no sockets. Strict: lines end with CRLF, lengths are unambiguous.
class ResponseParser {
 public:
  /// Take what has come and return how much of it belongs to the response: less than all only when it is complete or
  /// malformed.
  std::size_t feed(std::string_view data);

  /// The stream has ended, which completes a response that says nothing of its length.
  void end();

  [[nodiscard]] bool complete() const { return state_ == State::Complete; }
  [[nodiscard]] bool malformed() const { return state_ == State::Malformed; }

  /// Of a response that is complete.
  [[nodiscard]] int status() const { return status_; }
  [[nodiscard]] bool keeps_alive() const { return keeps_alive_; }

 private:
  enum class State { StatusLine, Header, Body, ChunkSize, Chunk, ChunkEnd, Trailer, UntilClose, Complete, Malformed };

  std::size_t take_counted(std::string_view data, State next);
  std::size_t take_line(std::string_view data);
  void read_line(std::string_view line);
  void read_status_line(std::string_view line);
  void read_header(std::string_view line);
  void read_length(std::string_view value);
  void read_chunk_size(std::string_view line);
  void end_head();

  State state_ = State::StatusLine;
  std::string line_;
  std::size_t head_ = 0;  // bytes of lines so far
  int status_ = 0;
  bool keeps_alive_ = false;
  bool chunked_ = false;
  bool until_close_ = false;
  std::optional<std::uint64_t> length_;
  std::uint64_t left_ = 0;  // bytes of the body, or of a chunk
};
