#include "cgi/connection.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <system_error>

#include "cgi/environment.h"
#include "cgi/reply_head.h"
#include "http/date.h"
#include "http/response.h"
#include "http/target.h"
#include "lib/check.h"
#include "lib/server.h"

namespace cgi {

namespace {

constexpr std::size_t kBuffered = 65'536;     // bytes, each way
constexpr std::size_t kLongestHead = 16'384;  // bytes, of a program's answer
constexpr std::chrono::seconds kLingering{2};

std::string host_of(const Address& address) {
  const std::string text = address.text();
  const std::string host = text.substr(0, text.rfind(':'));
  return host.starts_with('[') ? host.substr(1, host.size() - 2) : host;
}

/// Count one more, whatever other workers count meanwhile.
void add_one(std::atomic<std::uint64_t>& counter) {
#ifdef MUTANT_CGI_LOST_COUNTS
  const std::uint64_t before = counter;
  usleep(100);  // another worker's chance
  counter = before + 1;
#else
  ++counter;
#endif
}

}  // namespace

Connection::Connection(Fd socket, const Address& client, const Settings& settings, Counters& counters, Scripts& scripts)
    : settings_(settings),
      counters_(counters),
      scripts_(scripts),
      socket_(std::move(socket)),
      client_(host_of(client)),
      since_(Clock::now()),
      deadline_(since_ + settings.idle_timeout),
      parser_(settings.limits) {
  add_one(counters_.connections);
}

Connection::~Connection() {
#ifndef MUTANT_CGI_ORPHANS
  if (script_) scripts_.kill(script_->pid);
#endif
  if (status_ == 0) return;
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - since_);
  log_line(client_ + " \"" + log_text_ + "\" " + std::to_string(status_) + " " + std::to_string(sent_) + " bytes " +
           std::to_string(took.count()) + " ms");
}

bool Connection::wants_body() const { return body_left_ > 0 && in_.size() < kBuffered; }

void Connection::watch(std::vector<pollfd>& watched) const {
  const bool reads = state_ == State::kHead || state_ == State::kLinger || (state_ == State::kRun && wants_body());
  const int events = (reads ? POLLIN : 0) | (out_.empty() ? 0 : POLLOUT);
  const bool feeds = script_ && !in_.empty();
  const bool listens = script_ && out_.size() < kBuffered;
  watched.push_back({socket_.get(), static_cast<short>(events), 0});
  watched.push_back({feeds ? script_->input.get() : -1, POLLOUT, 0});
  watched.push_back({listens ? script_->output.get() : -1, POLLIN, 0});
}

bool Connection::serve(Clock::time_point now, short events) {
  if ((events & (POLLERR | POLLHUP | POLLNVAL)) != 0 && state_ != State::kLinger) return false;  // it is reset
  if (now >= deadline_ && !expire()) return false;
  if (state_ == State::kHead && !receive_head()) return false;
  if (state_ == State::kRun && !(feed_script() && read_script())) return false;
  if (state_ == State::kLinger) return linger();
  return send_reply();
}

/// What was waited for has not come in time.
bool Connection::expire() {
  if (state_ == State::kHead && !in_.empty()) {
    log_text_ = "-";
    answer(http::Status::kRequestTimeout);
    return true;
  }
  if (state_ == State::kRun && status_ == 0) {
    answer(http::Status::kGatewayTimeout);
    return true;
  }
  if (state_ == State::kRun || state_ == State::kReply) abort();
  return false;
}

/// Read what the client has sent, to at most `most` bytes in the buffer; false if it is gone.
bool Connection::receive(std::size_t most) {
  std::array<char, 16'384> buffer{};
  const std::size_t room = std::min(buffer.size(), most - in_.size());
  const ssize_t count = uninterrupted([&] { return read(socket_.get(), buffer.data(), room); });
  if (count < 0) return would_block();
  client_has_ended_ = count == 0;
  in_.append(buffer.data(), static_cast<std::size_t>(count));
  return true;
}

bool Connection::receive_head() {
  if (!receive(kBuffered)) return false;
  const auto state = parser_.parse(in_);
  if (state == http::RequestParser::State::kFailed) {
    log_text_ = "-";
    answer(parser_.error());
  } else if (state == http::RequestParser::State::kDone) {
    begin();
  }
  return !(client_has_ended_ && state_ == State::kHead);
}

/// The request's head is there: start the program that it asks for.
void Connection::begin() {
  using http::Status;
  add_one(counters_.requests);
  log_text_ = std::string(parser_.method()) + " " + std::string(parser_.target());
  is_head_request_ = parser_.method() == "HEAD";
  if (!is_head_request_ && parser_.method() != "GET" && parser_.method() != "POST")
    return answer(Status::kNotImplemented);
  if (parser_.chunked()) return answer(Status::kLengthRequired);  // a program is told the length before it starts
  const auto target = http::split_target(parser_.target());
  const auto path = target ? http::percent_decode(target->path) : std::nullopt;
  if (!path) return answer(Status::kBadRequest);
  const Target found = find_script(settings_.root, *path);
  if (found.status != Status::kOk) return answer(found.status);
  if (!scripts_.has_room()) return answer(Status::kUnavailable);
  try {
    script_ = scripts_.start(found.script, environment(parser_, found, target->query, client_, settings_.port));
  } catch (const std::system_error& error) {
    log_line(error.what());
    return answer(Status::kInternalError);
  }
  state_ = State::kRun;
  deadline_ = script_->deadline;
  if (parser_.expects_continue() && parser_.has_body()) out_ += "HTTP/1.1 100 Continue\r\n\r\n";
  body_left_ = parser_.content_length();
  in_.erase(0, parser_.size());
  in_.resize(std::min<std::size_t>(in_.size(), body_left_));  // a second request behind this one is not answered
  body_left_ -= in_.size();
}

/// Answer without a program.
void Connection::answer(http::Status status) {
  if (script_) scripts_.kill(script_->pid);
  script_.reset();
  in_.clear();
  const std::string page = http::error_page(status);
  http::HeadWriter(out_, status)
      .field("Date", http::format_date(std::time(nullptr)))
      .field("Connection", "close")
      .field("Content-Type", "text/html")
      .field("Content-Length", page.size())
      .end();
  if (!is_head_request_) out_ += page;
  count(static_cast<int>(status));
  state_ = State::kReply;
  deadline_ = Clock::now() + settings_.idle_timeout;
}

void Connection::count(int status) {
  status_ = status;
  add_one(status < 400 ? counters_.successes : status < 500 ? counters_.refusals : counters_.failures);
}

/// Give the program what has come of the body; false if the client has gone before its end.
bool Connection::feed_script() {
  if (wants_body()) {
    const std::size_t before = in_.size();
    if (!receive(std::min<std::uint64_t>(kBuffered, before + body_left_)) || client_has_ended_) return false;
    body_left_ -= in_.size() - before;
  }
  if (!in_.empty() && script_->input) {
    const ssize_t count = uninterrupted([&] { return write(script_->input.get(), in_.data(), in_.size()); });
    if (count > 0) in_.erase(0, static_cast<std::size_t>(count));
    if (count < 0 && !would_block()) script_->input.reset();  // it reads no more, and is free not to
  }
  if (!script_->input) in_.clear();
  if (in_.empty() && body_left_ == 0) script_->input.reset();
  return true;
}

/// Take what the program has written; false if the answer cannot be completed any more.
bool Connection::read_script() {
  std::array<char, 16'384> buffer{};
  while (out_.size() < kBuffered) {
    const ssize_t count = uninterrupted([&] { return read(script_->output.get(), buffer.data(), buffer.size()); });
    if (count < 0 && would_block()) return true;
    if (count < 0) check("read", -1);
    if (count > 0) {
      take_output({buffer.data(), static_cast<std::size_t>(count)});
      if (state_ != State::kRun) return true;
      continue;
    }
    if (status_ == 0) {  // it has ended, or was killed, without an answer
      answer(Clock::now() < script_->deadline ? http::Status::kBadGateway : http::Status::kGatewayTimeout);
      return true;
    }
    if (Clock::now() >= script_->deadline) {
      abort();
      return false;
    }
    script_.reset();
    in_.clear();
    state_ = State::kReply;
    deadline_ = Clock::now() + settings_.idle_timeout;
    return true;
  }
  return true;
}

void Connection::take_output(std::string_view output) {
  if (status_ != 0) {
    if (!is_head_request_) out_ += output;
    return;
  }
  script_head_ += output;
  const std::size_t end = end_of_head(script_head_);
  if (end == 0 && script_head_.size() < kLongestHead) return;
  const auto head = end == 0 ? std::nullopt : reply_head(std::string_view(script_head_).substr(0, end));
  if (!head) return answer(http::Status::kBadGateway);
  out_ += head->text;
  if (!is_head_request_) out_.append(script_head_, end);
  script_head_.clear();
  count(head->status);
}

bool Connection::send_reply() {
  while (!out_.empty()) {
    const ssize_t count = send(socket_.get(), out_.data(), out_.size(), MSG_NOSIGNAL);
    if (count < 0) return would_block();
    sent_ += static_cast<std::size_t>(count);
    out_.erase(0, static_cast<std::size_t>(count));
    if (state_ == State::kReply) deadline_ = Clock::now() + settings_.idle_timeout;
  }
  if (state_ != State::kReply) return true;
  if (shutdown(socket_.get(), SHUT_WR) < 0) return false;
  state_ = State::kLinger;
  deadline_ = Clock::now() + kLingering;
  return linger();
}

/// Read and forget, for a while, what the client still sends; false when it has ended.
bool Connection::linger() {
  std::array<char, 16'384> buffer{};
  const ssize_t count = uninterrupted([&] { return read(socket_.get(), buffer.data(), buffer.size()); });
  return count > 0 || (count < 0 && would_block());
}

/// Let the close be a reset, so that what was sent cannot be taken for a whole answer.
void Connection::abort() const {
#ifdef MUTANT_CGI_NO_ABORT
  return;
#endif
  const ::linger at_once{1, 0};
  setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

}  // namespace cgi
