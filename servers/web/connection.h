/// One client's connection: requests in, answers out, one after the other.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "http/body_reader.h"
#include "http/request_parser.h"
#include "lib/fd.h"
#include "web/access_log.h"
#include "web/counters.h"
#include "web/input_buffer.h"
#include "web/responder.h"
#include "web/settings.h"

namespace web {

/// What a connection needs while a request or an answer is under way, and not while it is idle.
struct Exchange {
  explicit Exchange(const http::Limits& limits) : in(limits.head + 1), parser(limits) {}

  InputBuffer in;  // a byte larger than a head may be, so that too large a one is seen and not waited for
  http::RequestParser parser;
  http::BodyReader body;
  bool in_body = false;
  std::string out;       // heads, small contents
  std::size_t sent = 0;  // of `out`
  Answer answer;         // the last one's, for the file that follows `out`
};

/// What the connections of a worker share; used by its thread alone.
struct Context {
  const Settings& settings;
  Responder responder;
  AccessLog log;
  Counters& counters;
  bool draining = false;  ///< no connection is kept any longer than its request
  std::vector<std::unique_ptr<Exchange>> spare{};
};

/// A state machine that does what its socket is ready for; it never waits. It has buffers only while it needs them.
class Connection {
 public:
  /// What the connection waits for, each with its own patience.
  enum class Phase : std::uint8_t {
    kIdle,       ///< for the next request's first byte
    kReading,    ///< for the rest of a request
    kSending,    ///< for the client to make room
    kLingering,  ///< for the client to end, so that it can read the last answer
    kClosed,     ///< for nothing
  };

  Connection(Fd socket, Context& context) : socket_(std::move(socket)), context_(context) {}

  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] Phase phase() const { return phase_; }

  /// Do what can be done.
  void serve();

  /// The phase has lasted too long: say so, if there is something to say it to, and end.
  void time_out();

#ifdef MUTANT_RDHUP_BEFORE_IN
  void abandon() { close(); }
#endif

  /// Whether something has been achieved since the last call, so that patience begins anew.
  [[nodiscard]] bool take_progress() { return std::exchange(progress_, false); }

 private:
  enum class Sent : std::uint8_t { kAll, kSome, kFailed };

  void receive();
  void go_on();
  bool step();
  void answer_request();
  void refuse(http::Status status);
  void note(const Answer& answer, std::string_view request);
  Sent send_out();
  Sent send_text();
  Sent send_file();
  void settle();
  void finish();
  void linger();
  void close();
  void release_exchange();

  Fd socket_;
  Context& context_;
  std::unique_ptr<Exchange> exchange_;
  Phase phase_ = Phase::kIdle;
  bool progress_ = false;
  bool last_ = false;    // the answer on its way is the last one
  bool unread_ = false;  // something of the client's will stay unread
};

}  // namespace web
