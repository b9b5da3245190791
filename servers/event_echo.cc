// Echo server over libevent: connections, signals and timers as events of one loop. Book 12.
//
// The library is a reactor: it waits, with epoll here, and calls back. A bufferevent reads and writes by itself. What
// is left to say is what to do with the data, and when to stop: a peer that does not read makes the output grow, so
// reading is suspended until the output has been sent.
//
// Limits: one thread. With --every it logs how many connections there are, which shows a periodic timer.
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include <csignal>
#include <memory>
#include <set>
#include <stdexcept>
#include <vector>

#include "lib/accept.h"
#include "lib/address.h"
#include "lib/options.h"
#include "lib/server.h"

namespace {

#ifdef MUTANT_TIMER_ONCE
constexpr short kAgain = 0;
#else
constexpr short kAgain = EV_PERSIST;
#endif
constexpr timeval kGrace{2, 0};
constexpr std::size_t kMostOutput = 65'536;  // of a connection; then it is not read until all of it is sent

/// Frees what libevent has made.
struct Free {
  void operator()(event_base* base) const { event_base_free(base); }
  void operator()(event* one) const { event_free(one); }
  void operator()(evconnlistener* listener) const { evconnlistener_free(listener); }
};

template <typename T>
std::unique_ptr<T, Free> owned(const char* what, T* made) {
  if (made == nullptr) throw std::runtime_error(std::string("libevent: ") + what);
  return std::unique_ptr<T, Free>(made);
}

timeval from(std::chrono::milliseconds time) { return {time.count() / 1000, time.count() % 1000 * 1000}; }

class Server;

/// A connection, freed by itself when it has come to its end.
struct Connection {
  Server* server;
  bufferevent* stream;
  bool has_ended = false;  // the peer has sent all that it will

  [[nodiscard]] std::size_t waiting() const { return evbuffer_get_length(bufferevent_get_output(stream)); }
};

class Server {
 public:
  Server(const Options& options, std::chrono::milliseconds every)
      : idle_(from(options.idle_timeout)), base_(owned("event_base_new", event_base_new())) {
    for (const int signal : {SIGTERM, SIGINT}) {
      auto end = [](evutil_socket_t, short, void* self) { static_cast<Server*>(self)->end(); };
      watch(evsignal_new(base_.get(), signal, end, this), nullptr);
    }
    if (every.count() > 0) {
      auto report = [](evutil_socket_t, short, void* self) { static_cast<const Server*>(self)->report(); };
      const timeval period = from(every);
      watch(event_new(base_.get(), -1, kAgain, report, this), &period);
    }
    listen(options);
  }

  ~Server() {
    for (Connection* connection : std::set(connections_)) close(connection);
  }

  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;
  Server(Server&&) = delete;
  Server& operator=(Server&&) = delete;

  void run() {
    announce_ready();
    if (event_base_dispatch(base_.get()) < 0) throw std::runtime_error("libevent: event_base_dispatch");
  }

 private:
  void watch(event* made, const timeval* period) {
    events_.push_back(owned("event_new", made));
    if (event_add(made, period) < 0) throw std::runtime_error("libevent: event_add");
  }

  void listen(const Options& options) {
    Fd socket = listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
    auto accepted = [](evconnlistener*, evutil_socket_t fd, sockaddr*, int, void* self) {
      static_cast<Server*>(self)->add(fd);
    };
    listener_ =
        owned("evconnlistener_new", evconnlistener_new(base_.get(), accepted, this,
                                                       LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, socket.get()));
    [[maybe_unused]] const int handed_over = socket.release();
    evconnlistener_set_error_cb(listener_.get(),
                                [](evconnlistener*, void* self) { static_cast<Server*>(self)->pause(); });
    auto resume = [](evutil_socket_t, short, void* self) {
      evconnlistener_enable(static_cast<Server*>(self)->listener_.get());
    };
    resume_ = owned("event_new", event_new(base_.get(), -1, 0, resume, this));
  }

  /// Without a descriptor, accept would fail again at once: look after other things for a while.
  void pause() {
    const timeval pause = from(kAcceptPause);
    evconnlistener_disable(listener_.get());
    event_add(resume_.get(), &pause);
  }

  void add(int socket) {
    bufferevent* const stream = bufferevent_socket_new(base_.get(), socket, BEV_OPT_CLOSE_ON_FREE);
    if (stream == nullptr) {  // there is no memory for it; an exception has no way through the library
      ::close(socket);
      return;
    }
    auto* const connection = new Connection{this, stream};
    connections_.insert(connection);
    bufferevent_setcb(
        stream, [](bufferevent*, void* one) { receive(static_cast<Connection*>(one)); },
        [](bufferevent*, void* one) { sent_all(static_cast<Connection*>(one)); },
        [](bufferevent*, short what, void* one) { end_of(static_cast<Connection*>(one), what); }, connection);
    bufferevent_set_timeouts(stream, &idle_, &idle_);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
  }

  static void receive(Connection* connection) {
    bufferevent_read_buffer(connection->stream, bufferevent_get_output(connection->stream));
    if (connection->waiting() > kMostOutput) bufferevent_disable(connection->stream, EV_READ);
  }

  static void sent_all(Connection* connection) {
    if (connection->has_ended)
      connection->server->close(connection);
    else
      bufferevent_enable(connection->stream, EV_READ);
  }

  static void end_of(Connection* connection, short what) {
    connection->has_ended = true;
#ifdef MUTANT_DROPS_AT_END
    const bool still_listens = what == 0;
#else
    const bool still_listens = (what & BEV_EVENT_EOF) != 0;  // which a reset and silence are not
#endif
    if (!still_listens || connection->waiting() == 0) connection->server->close(connection);
  }

  void close(Connection* connection) {
    bufferevent_free(connection->stream);
    connections_.erase(connection);
    delete connection;
    if (is_ending_ && connections_.empty()) event_base_loopbreak(base_.get());
  }

  void report() const { log_line("connections " + std::to_string(connections_.size())); }

  /// Take nothing new; connections end when what has arrived is answered, or the time is over.
  void end() {
#ifndef MUTANT_ENDS_TWICE
    if (is_ending_) return;  // there is no listener any more
#endif
    is_ending_ = true;
    evconnlistener_disable(listener_.get());
    listener_.reset();
    event_del(resume_.get());
    for (const Connection* connection : connections_) shutdown(bufferevent_getfd(connection->stream), SHUT_RD);
    event_base_loopexit(base_.get(), connections_.empty() ? nullptr : &kGrace);
  }

  const timeval idle_;
  std::unique_ptr<event_base, Free> base_;
  std::vector<std::unique_ptr<event, Free>> events_;
  std::unique_ptr<evconnlistener, Free> listener_;
  std::unique_ptr<event, Free> resume_;
  std::set<Connection*> connections_;
  bool is_ending_ = false;
};

void serve(int argc, char** argv) {
  Options options;
  std::string every = "0";
  parse(argc, argv, "echo server over libevent", options,
        {{"--every", "MS", "log the number of connections so often, in milliseconds; 0 for never", &every}});
  const std::chrono::milliseconds period{number("--every", every, 0, 86'400'000)};
  Server(options, period).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
