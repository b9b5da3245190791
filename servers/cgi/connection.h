/// One request and its answer, by a program.
#pragma once

#include <poll.h>

#include <memory>
#include <string>
#include <vector>

#include "cgi/script.h"
#include "cgi/settings.h"
#include "http/request_parser.h"
#include "http/status.h"
#include "lib/address.h"
#include "lib/fd.h"

namespace cgi {

/// A client's connection and, once its request is there, the program that answers. Nothing in it waits.
///
/// Each side is read only while what was read before has room: a client that does not take its answer stops the
/// program's output, and a program that does not read stops the client's body.
class Connection {
 public:
  Connection(Fd socket, const Address& client, const Settings& settings, Counters& counters, Scripts& scripts);

  /// Writes the line of the access log, and kills the program if it still runs.
  ~Connection();

  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  Connection(Connection&&) = delete;
  Connection& operator=(Connection&&) = delete;

  /// How many entries `watch` adds.
  static constexpr std::size_t kWatched = 3;

  /// Add what is waited for: client, program's input, program's output.
  void watch(std::vector<pollfd>& watched) const;

  /// Do all that can be done now; false when the connection has come to its end.
  ///
  /// @param events what poll has said about the client
  bool serve(Clock::time_point now, short events);

  [[nodiscard]] Clock::time_point deadline() const { return deadline_; }

  /// Whether no request is there yet, and the client can be sent away: nothing was done that it could not ask for
  /// again.
  [[nodiscard]] bool is_idle() const { return state_ == State::kHead; }

 private:
  enum class State {
    kHead,    ///< reads the request's head
    kRun,     ///< the program runs
    kReply,   ///< all of the answer is there, and is sent
    kLinger,  ///< the answer is sent; what the client still sends is read, as unread bytes would turn FIN into RST
  };

  bool expire();
  bool receive(std::size_t most);
  bool receive_head();
  void begin();
  void answer(http::Status status);
  bool feed_script();
  bool read_script();
  void take_output(std::string_view output);
  bool send_reply();
  bool linger();
  void count(int status);
  void abort() const;
  [[nodiscard]] bool wants_body() const;

  const Settings& settings_;
  Counters& counters_;
  Scripts& scripts_;
  Fd socket_;
  std::string client_;
  State state_ = State::kHead;
  Clock::time_point since_;
  Clock::time_point deadline_;
  http::RequestParser parser_;
  std::string in_;  // the head; then what of the body the program has not taken
  bool client_has_ended_ = false;
  std::uint64_t body_left_ = 0;  // still to come from the client
  std::unique_ptr<Script> script_;
  std::string script_head_;  // what has come of the program's head
  std::string out_;
  std::size_t sent_ = 0;  // bytes in all
  bool is_head_request_ = false;
  std::string log_text_;  // method and target
  int status_ = 0;        // of the answer; 0 before there is one
};

}  // namespace cgi
