// A server that answers every request with what it has understood of it. Book 8.6.
//
// The parser (http/request_parser.h) is a state machine that goes on wherever the last piece of the request ended: in
// the middle of the request line, of a field, of the body. The answer says after how many reads each part was
// complete, so that a client sees the states go by when it sends slowly: `printf 'GET / HTTP/1.0\r\n\r\n' | nc ...`.
// Requests that come in one piece are answered one after the other, and what is no request is answered with the
// reason.
//
// Limits: no timeouts; it serves no files. The web server has both.
#include <array>
#include <csignal>
#include <map>
#include <optional>

#include "http/body_reader.h"
#include "http/request_parser.h"
#include "http/response.h"
#include "http/target.h"
#include "lib/accept.h"
#include "lib/check.h"
#include "lib/epoll.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

namespace {

using State = http::RequestParser::State;

std::string times(int reads) { return std::to_string(reads) + (reads == 1 ? " read" : " reads"); }

/// Return what the parser has found, a line each.
std::string describe(const http::RequestParser& parser) {
  std::string text = "method: " + std::string(parser.method()) + "\ntarget: " + std::string(parser.target()) + "\n";
  if (const auto target = http::split_target(parser.target())) {
    const auto decoded = http::percent_decode(target->path);
    const auto path = decoded ? http::normalise(*decoded) : std::nullopt;
    text += "path: " + (path ? "/" + *path : "(none under the root)") + "\n";
    if (!target->query.empty()) text += "query: " + std::string(target->query) + "\n";
  }
  text += "version: HTTP/1." + std::to_string(parser.minor_version()) + "\n";
  for (std::size_t i = 0; i < parser.field_count(); ++i) {
    const auto [name, value] = parser.field_at(i);
    text += "field: " + std::string(name) + ": " + std::string(value) + "\n";
  }
  return text + "connection: " + (parser.keep_alive() ? "keep-alive" : "close") + "\n";
}

/// A client, the request that is coming in from it, and the answers that are on their way to it.
class Connection {
 public:
  explicit Connection(Fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] std::uint32_t events() const { return out_.empty() ? EPOLLIN : EPOLLOUT; }

  /// Do what can be done; false when the connection has come to its end.
  bool serve() {
    if (out_.empty() && !receive()) return false;
    do {
      while (out_.empty() && !ended_ && step()) {
      }
      if (out_.empty()) return true;
      if (!send_out()) return false;
    } while (out_.empty());  // there may be more requests in what has come
    return true;
  }

 private:
  bool receive() {
    std::array<char, 4096> piece;  // NOLINT(cppcoreguidelines-pro-type-member-init): read fills it
    const ssize_t count = uninterrupted([&] { return read(socket_.get(), piece.data(), piece.size()); });
    if (count <= 0) return count < 0 && would_block();
#ifdef MUTANT_ONE_READ
    in_.clear();
    parser_.reset();
#endif
    if (!ended_) in_.append(piece.data(), static_cast<std::size_t>(count));  // else it is read to be thrown away
    ++reads_;
    return true;
  }

  /// Take a step through what has come; false if more has to come for the next.
  bool step() {
    if (!in_body_) {
      const State before = parser_.state();
      const State now = parser_.parse(in_);
      if (before == State::kRequestLine && now > before) line_reads_ = reads_;
      if (now == State::kFailed) return answer(parser_.error(), std::string(parser_.why()) + "\n");
      if (now < State::kDone) return false;
      begin_body();
    }
    const http::BodyReader::Piece piece = body_.next(in_);
    content_ += piece.content.size();
    in_.erase(0, piece.consumed);
    if (body_.too_large()) return answer(http::Status::kContentTooLarge, "the body is too large\n");
    if (body_.failed()) return answer(http::Status::kBadRequest, "these are no chunks\n");
    if (body_.done()) return answer(http::Status::kOk, understood());
    return piece.consumed > 0;
  }

  /// The head is complete: keep its description, and let the buffer begin with the body.
  void begin_body() {
    in_body_ = true;
    head_reads_ = reads_;
    description_ = describe(parser_);
    keep_alive_ = parser_.keep_alive();
    is_head_ = parser_.method() == "HEAD";
    body_ = parser_.chunked() ? http::BodyReader::in_chunks(http::Limits{}.body)
                              : http::BodyReader::of_length(parser_.content_length());
    in_.erase(0, parser_.size());
    if (parser_.expects_continue() && in_.empty() && !body_.done()) out_ = "HTTP/1.1 100 Continue\r\n\r\n";
  }

  [[nodiscard]] std::string understood() const {
    return "request line: complete after " + times(line_reads_) + "\nfields: complete after " + times(head_reads_) +
           "\nbody: complete after " + times(reads_) + ", " + std::to_string(content_) + " bytes\n" + description_;
  }

  bool answer(http::Status status, const std::string& text) {
    ended_ = status != http::Status::kOk || !keep_alive_;
    http::HeadWriter(out_, status)
        .field("Content-Type", "text/plain; charset=utf-8")
        .field("Content-Length", text.size())
        .field("Connection", ended_ ? "close" : "keep-alive")
        .end();
    if (!is_head_) out_ += text;
    parser_.reset();
    in_body_ = false;
    is_head_ = false;
    content_ = 0;
    reads_ = in_.empty() ? 0 : 1;  // what is there of the next request came with the last read
    return true;
  }

  bool send_out() {
    const ssize_t count = uninterrupted([&] { return write(socket_.get(), out_.data(), out_.size()); });
    if (count < 0) return would_block();
    out_.erase(0, static_cast<std::size_t>(count));
    // To close while something of the client's is unread would reset the connection, and with luck of timing take the
    // answer away from it. So the end is said, and the client's end waited for.
    if (out_.empty() && ended_) return shutdown(socket_.get(), SHUT_WR) == 0;
    return true;
  }

  Fd socket_;
  std::string in_;
  std::string out_;
  http::RequestParser parser_;
  http::BodyReader body_;
  bool in_body_ = false;
  bool is_head_ = false;
  bool keep_alive_ = false;
  bool ended_ = false;  // no request is answered any more
  std::uint64_t content_ = 0;
  std::string description_;
  int reads_ = 0;  // since the request began
  int line_reads_ = 0;
  int head_reads_ = 0;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "server that answers requests with what it understands of them", options);
  const SignalPipe signals{SIGTERM, SIGINT};
  const Fd listener = listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
  Epoll epoll;
  epoll.add(signals.fd(), EPOLLIN);
  // Edge-triggered, so that it does not spin at the limit of descriptors: it is tried again when one is closed.
  epoll.add(listener.get(), EPOLLIN | EPOLLET);
  announce_ready();

  std::map<int, Connection> connections;
  bool has_room = true;
  const auto accept_waiting = [&] {
    has_room = accept_all(listener.get(), [&](Fd socket) {
      const int fd = socket.get();
      epoll.add(fd, EPOLLIN);
      connections.emplace(fd, std::move(socket));
    });
  };
  while (true) {
    for (const epoll_event& event : epoll.wait()) {
      if (event.data.fd == signals.fd()) return;
      if (event.data.fd == listener.get()) {
        accept_waiting();
        continue;
      }
      Connection& connection = connections.at(event.data.fd);
      const std::uint32_t before = connection.events();
      if (!connection.serve()) {
        connections.erase(event.data.fd);
        if (!has_room) accept_waiting();
      } else if (connection.events() != before) {
        epoll.modify(event.data.fd, connection.events());
      }
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
