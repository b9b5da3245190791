#include "web/connection.h"

#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <utility>

#include "lib/check.h"

namespace web {

namespace {

using State = http::RequestParser::State;

/// Answers to pipelined requests are collected up to here before they are sent.
constexpr std::size_t kEnoughText = 32'768;

/// A fast reader of a large file gives way to other connections after so many bytes.
constexpr std::uint64_t kTurn = 1'048'576;

constexpr std::size_t kMostSpare = 16;

/// Whether something has come that nobody has read.
bool has_unread(int socket) {
#ifdef MUTANT_UNREAD_RST
  return false;
#endif
  int size = 0;
  return ioctl(socket, FIONREAD, &size) == 0 && size > 0;
}

}  // namespace

void Connection::serve() {
  switch (phase_) {
    case Phase::kIdle:
    case Phase::kReading:
      receive();
      break;
    case Phase::kSending:
      go_on();
      break;
    case Phase::kLingering:
      linger();
      break;
    case Phase::kClosed:
      break;
  }
}

void Connection::time_out() {
  Counters::add(context_.counters.timeouts);
  // In its body a request has been answered already, and between requests there is nothing to answer.
  if (phase_ != Phase::kReading || exchange_->in_body) return close();
  refuse(http::Status::kRequestTimeout);
  go_on();
  if (phase_ != Phase::kLingering) close();  // it reads nothing either
}

void Connection::receive() {
  if (!exchange_) {
    if (context_.spare.empty()) {
      exchange_ = std::make_unique<Exchange>(context_.settings.limits);
    } else {
      exchange_ = std::move(context_.spare.back());
      context_.spare.pop_back();
    }
  }
  const ssize_t count = exchange_->in.receive_from(fd());
  // A client that has half-closed gets here only when all its requests are answered, for they are read first.
  if (count == 0 || (count < 0 && !would_block())) return close();
#ifdef MUTANT_SLOW_LORIS
  progress_ = true;
#endif
  go_on();
}

/// Answer what has come as far as it is complete, and send as far as there is room.
void Connection::go_on() {
  while (true) {
    Exchange& now = *exchange_;
    while (!last_ && now.answer.left == 0 && now.out.size() < kEnoughText && step()) {
    }
    if (now.out.empty() && now.answer.left == 0) return last_ ? finish() : settle();
    switch (send_out()) {
      case Sent::kAll:
        break;
      case Sent::kSome:
        phase_ = Phase::kSending;
        return;
      case Sent::kFailed:
        Counters::add(context_.counters.broken);
        return close();
    }
  }
}

/// Take a step through what has come; false if more has to come for the next.
bool Connection::step() {
  Exchange& now = *exchange_;
  if (!now.in_body) {
    const State state = now.parser.parse(now.in.view());
    if (state == State::kFailed) {
      refuse(now.parser.error());
      return false;
    }
#ifdef MUTANT_ONE_READ
    if (state < State::kDone && !now.in.empty()) refuse(http::Status::kBadRequest);
#endif
    if (state < State::kDone) return false;
    answer_request();
    return true;
  }
  // Nothing here wants a body. It is read to get at the next request.
  const http::BodyReader::Piece piece = now.body.next(now.in.view());
  now.in.consume(piece.consumed);
  if (now.body.failed()) last_ = unread_ = true;
  if (now.body.done()) now.in_body = false;
  return !now.body.failed() && (now.body.done() || piece.consumed > 0);
}

void Connection::answer_request() {
  Exchange& now = *exchange_;
  const http::RequestParser& request = now.parser;
  // Who waits for "100 Continue" gets the final answer instead, and then a body may follow or not: nobody can tell.
  const bool is_unclear = request.has_body() && request.expects_continue();
#ifdef MUTANT_KEEP_ALIVE_IGNORES_CLOSE
  last_ = is_unclear || context_.draining;
#else
  last_ = !request.keep_alive() || is_unclear || context_.draining;
#endif
  if (last_ && request.has_body()) unread_ = true;

  now.answer = context_.responder.serve(request, !last_, now.out);
  const std::string_view head = now.in.view();
  note(now.answer, head.substr(0, head.find_first_of("\r\n")));

  now.body = request.chunked() ? http::BodyReader::in_chunks(context_.settings.limits.body)
                               : http::BodyReader::of_length(request.content_length());
#ifndef MUTANT_BODY_AS_REQUEST
  now.in_body = request.has_body();
#endif
  now.in.consume(request.size());
  now.parser.reset();
#ifdef MUTANT_PIPELINE_LOST
  now.in.clear();
#endif
}

/// Answer what is no request that can be served, and serve no other.
void Connection::refuse(http::Status status) {
  Exchange& now = *exchange_;
  last_ = unread_ = true;
  const bool is_head = now.parser.state() >= State::kFields && now.parser.method() == "HEAD";
  now.answer = context_.responder.refuse(status, {.head_only = is_head}, now.out);
  const std::string_view head = now.in.view();
  note(now.answer, head.substr(0, std::min(head.find_first_of("\r\n"), std::size_t{256})));
}

void Connection::note(const Answer& answer, std::string_view request) {
  progress_ = true;
  Counters& counters = context_.counters;
  const auto code = static_cast<int>(answer.status);
  Counters::add(counters.requests);
  Counters::add(code < 400 ? counters.informed : code < 500 ? counters.refused : counters.failed);
  if (!context_.log.enabled()) return;
  context_.log.add(fd(), context_.responder.time(), request, answer.status, answer.content);
  if (context_.log.is_large()) Counters::add(counters.unlogged, context_.log.flush());
}

Connection::Sent Connection::send_out() {
  const Sent text = send_text();
  if (text != Sent::kAll) return text;
  return send_file();
}

Connection::Sent Connection::send_text() {
  Exchange& now = *exchange_;
  while (now.sent < now.out.size()) {
    // The head waits for the file behind it, and the last answer for the end of the connection, so that they go in full
    // segments and the end in none of its own.
    const int flags = MSG_NOSIGNAL | (now.answer.left > 0 || last_ ? MSG_MORE : 0);
    std::size_t size = now.out.size() - now.sent;
#ifdef MUTANT_NAGLE
    // Head and content are written one after the other.
    const std::size_t head = now.out.find("\r\n\r\n", now.sent);
    if (head != std::string::npos && head + 4 < now.out.size()) size = head + 4 - now.sent;
#endif
    const ssize_t count = uninterrupted([&] { return send(fd(), now.out.data() + now.sent, size, flags); });
    if (count < 0) return would_block() ? Sent::kSome : Sent::kFailed;
    now.sent += static_cast<std::size_t>(count);
    Counters::add(context_.counters.sent, static_cast<std::uint64_t>(count));
    progress_ = true;
  }
  now.out.clear();
  now.sent = 0;
  return Sent::kAll;
}

Connection::Sent Connection::send_file() {
  Answer& answer = exchange_->answer;
  std::uint64_t turn = kTurn;
  while (answer.left > 0) {
    if (turn == 0) return Sent::kSome;
    auto offset = static_cast<off_t>(answer.offset);
    const ssize_t count =
        uninterrupted([&] { return sendfile(fd(), answer.file.get(), &offset, std::min(answer.left, turn)); });
    if (count < 0) return would_block() ? Sent::kSome : Sent::kFailed;
    if (count == 0) return Sent::kFailed;  // the file has been cut short, and its length is told already
    const auto size = static_cast<std::uint64_t>(count);
    answer.offset += size;
#ifdef MUTANT_PARTIAL_SEND
    answer.left = 0;
#else
    answer.left -= size;
#endif
    turn -= size;
    Counters::add(context_.counters.sent, size);
    progress_ = true;
  }
  answer.file.reset();
  return Sent::kAll;
}

/// All is sent: wait for the rest of a request, or for the next one, which needs no buffers.
///
/// A server that is to stop waits for none, but one that has come while the last answer was sent is answered still.
void Connection::settle() {
  const bool between = exchange_->in.empty() && !exchange_->in_body;
  phase_ = between ? Phase::kIdle : Phase::kReading;
  if (!between) return;
  if (context_.draining) return has_unread(fd()) ? receive() : close();
  release_exchange();
}

/// The last answer is sent.
///
/// To close while something of the client's is unread makes the kernel send a reset, and a reset lets the client's
/// kernel throw away the answer that it has but that nobody has read yet. So the end is said, and the rest is read.
void Connection::finish() {
  const bool something_is_left = unread_ || !exchange_->in.empty() || has_unread(fd());
#ifdef MUTANT_FULL_BUFFER_RST
  if (something_is_left) return close();
#endif
  release_exchange();
  if (!something_is_left || shutdown(fd(), SHUT_WR) < 0) return close();
  phase_ = Phase::kLingering;
  progress_ = true;
}

void Connection::linger() {
  std::array<char, 16'384> ignored;  // NOLINT(cppcoreguidelines-pro-type-member-init): recv fills it
  const ssize_t count = uninterrupted([&] { return recv(fd(), ignored.data(), ignored.size(), 0); });
  if (count == 0 || (count < 0 && !would_block())) close();
}

void Connection::close() {
  release_exchange();
#ifdef MUTANT_LINGER_ZERO
  const struct linger at_once { 1, 0 };
  setsockopt(fd(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
#endif
  phase_ = Phase::kClosed;
}

/// Give the buffers back, as good as new.
void Connection::release_exchange() {
  if (!exchange_ || context_.spare.size() == kMostSpare) return exchange_.reset();
  Exchange& now = *exchange_;
  now.in.clear();
  now.parser.reset();
  now.body = {};
  now.in_body = false;
  now.out.clear();
  now.sent = 0;
  now.answer = {};
  context_.spare.push_back(std::move(exchange_));
}

}  // namespace web
