#include "balancer/worker.h"

#include <netinet/tcp.h>

#include <algorithm>
#include <csignal>
#include <iomanip>
#include <sstream>

#include "lib/accept.h"
#include "lib/check.h"
#include "lib/pending_error.h"
#include "lib/server.h"

namespace {

constexpr std::chrono::milliseconds kLongestPause{1000};
constexpr int kAcceptedAtOnce = 64;

// At most: two sockets, and a pipe for each direction in which something waits.
constexpr std::size_t kDescriptorsOfSession = 6;
// The standard streams, the listener, signals, epoll, and some that whoever started the balancer left open.
constexpr std::size_t kDescriptorsOfWorker = 32;

/// How many clients a worker may have. One whom it could not connect to a backend for want of descriptors is better
/// off in the queue of the listener.
std::size_t most_sessions(const Service& service) {
  const std::size_t wanted = service.config.connections / service.workers;
#ifdef MUTANT_NO_DESCRIPTORS_KEPT
  return std::max<std::size_t>(1, wanted);
#else
  const std::size_t descriptors = std::max(service.descriptors, kDescriptorsOfWorker) - kDescriptorsOfWorker;
  return std::max<std::size_t>(1, std::min(wanted, descriptors / kDescriptorsOfSession));
#endif
}

/// Close with a reset: whoever gets it knows that what came before was cut off (SO_LINGER of 0, book 5.11.4).
void let_reset(const Fd& socket) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  if (socket) check("SO_LINGER", setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once));
}

}  // namespace

Worker::Worker(const Service& service, std::size_t index, Fd listener)
    : service_(service),
      index_(index),
      most_(most_sessions(service)),
      listener_(std::move(listener)),
      signals_{SIGTERM, SIGINT, SIGUSR2},
      connecting_(service.config.connect_timeout),
      idle_(service.idle_timeout) {
  epoll_.add(signals_.fd(), EPOLLIN);
  listen_again(true);
}

void Worker::run() {
  while (!is_over()) {
    const auto events = epoll_.wait(pause());
    now_ = Clock::now();
    for (const epoll_event& event : events) handle(event);
    for (Session* session : std::exchange(with_more_to_do_, {})) {
      session->has_more_to_do = false;
      if (session->connected) relay(*session);
    }
    expire();
    ended_.clear();
    closing_.clear();
    if (!stopping_ && sessions_.size() < most_ && now_ >= accept_from_) listen_again(true);
  }
  while (!sessions_.empty()) fail(*sessions_.back(), "stopped");
}

bool Worker::is_over() const { return stopping_ && (sessions_.empty() || now_ >= stop_by_); }

std::chrono::milliseconds Worker::pause() const {
  if (!with_more_to_do_.empty()) return std::chrono::milliseconds{0};
  const bool waits_for_descriptors = !listening_ && !stopping_ && sessions_.size() < most_;
  std::chrono::milliseconds longest = waits_for_descriptors ? kAcceptPause : kLongestPause;
  if (stop_by_ < now_ + longest) longest = std::chrono::ceil<std::chrono::milliseconds>(stop_by_ - now_);
  return connecting_.until_next(now_, idle_.until_next(now_, std::max(longest, std::chrono::milliseconds{0})));
}

void Worker::handle(const epoll_event& event) {
  const int fd = event.data.fd;
  if (fd == signals_.fd()) {
    const auto taken = signals_.take();
    stop(taken.contains(SIGTERM) || taken.contains(SIGINT));
  } else if (fd == listener_.get()) {
    accept_clients();
  } else if (Session* session = session_of(fd); session != nullptr) {  // else it has ended in this turn
    note(*session, fd == session->client.get(), event.events);
    if (session->connected)
      relay(*session);
    else if (fd == session->server.get())
      finish_connect(*session);
  }
}

/// Tell both directions what an event of one socket means for them.
void Worker::note(Session& session, bool is_client, std::uint32_t events) {
  Relay& from_it = is_client ? session.up : session.down;
  Relay& to_it = is_client ? session.down : session.up;
  if ((events & EPOLLIN) != 0) from_it.source_is_readable();
  if ((events & (EPOLLRDHUP | EPOLLHUP)) != 0) from_it.source_is_ending();
  if ((events & EPOLLERR) != 0) from_it.source_is_broken();
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) to_it.target_is_writable();
}

/// Watch the listener, or leave the clients in its queue: to other workers, and until there is room.
void Worker::listen_again(bool wanted) {
  if (wanted == listening_) return;
  if (wanted)
    epoll_.add(listener_.get(), EPOLLIN | EPOLLEXCLUSIVE);
  else
    epoll_.remove(listener_.get());
  listening_ = wanted;
}

/// Accept some clients; true if more may be waiting.
bool Worker::accept_clients() {
  for (int i = 0; i < kAcceptedAtOnce && !is_full(); ++i) {
    Address peer;
    Fd client;
    const Accepted accepted = accept_one(listener_.get(), client, &peer);
    if (accepted == Accepted::kNobody) return false;
    if (accepted == Accepted::kFull) {
      accept_from_ = now_ + kAcceptPause;  // they go on waiting, and the listener would go on being readable
      listen_again(false);
      return false;
    }
    begin_session(std::move(client), peer);
  }
  // At once, not when the next one comes: that would wake this worker, and no other.
  if (is_full()) listen_again(false);
  return !is_full();
}

bool Worker::is_full() const {
#ifdef MUTANT_NO_LIMIT
  return false;
#else
  return sessions_.size() >= most_;
#endif
}

void Worker::begin_session(Fd client, const Address& peer) {
  ++service_.totals.accepted;
  auto session = std::make_unique<Session>();
  session->client = std::move(client);
  session->peer = peer;
  session->index = sessions_.size();
  session->tried.resize(service_.config.backends.size());
  session->begin = now_;
  sessions_.push_back(std::move(session));
  connect_next(*sessions_.back());
}

/// Those that wait to be accepted are accepted still: closing the listener would reset them.
void Worker::stop(bool soon) {
#ifdef MUTANT_STOPS_AT_ONCE
  if (soon) stop_by_ = now_;
#else
  if (soon) stop_by_ = std::min(stop_by_, now_ + service_.config.drain_timeout);
#endif
  if (stopping_) return;
  while (listening_ && accept_clients()) {
  }
  listen_again(false);
  closing_.push_back(std::move(listener_));
  stopping_ = true;
}

/// Try backends until a connection to one is on its way.
void Worker::connect_next(Session& session) {
  while (const auto backend = service_.scoreboard.least_loaded(session.tried)) {
    session.backend = *backend;
    session.tried[*backend] = true;
    if (connect_to_backend(session)) return;
    ++service_.totals.retried;
  }
  ++service_.totals.refused;
  let_reset(session.client);  // what it has sent was given to nobody, and it shall know
  end(session, "refused");
}

bool Worker::connect_to_backend(Session& session) {
  const Address& address = service_.config.backends[session.backend];
  Fd server(socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!server) return false;  // no descriptors: no fault of the backend's
  // Nagle's algorithm would hold back a small piece while another is on its way; the client has decided that already.
  set_option(server.get(), IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
  if (connect(server.get(), address.get(), address.size()) < 0 && errno != EINPROGRESS) {
    service_.scoreboard.mark(session.backend, false, std::generic_category().message(errno));
    return false;
  }
  session.server = std::move(server);
  service_.scoreboard.begin(index_, session.backend);
  watch(session.server.get(), session);
  wait_in(session, connecting_);
  return true;
}

void Worker::finish_connect(Session& session) {
  if (const int error = pending_error(session.server.get()); error != 0)
    return backend_failed(session, std::generic_category().message(error));
  session.connected = true;
#ifdef MUTANT_LOGS_TOO_EARLY
  if (service_.config.access_log) log(session, "done");
#endif
  session.up.target_is_writable();
  wait_in(session, idle_);
  if (session_of(session.client.get()) == nullptr) watch(session.client.get(), session);  // it is, after a retry
  relay(session);
}

/// What cannot be connected to counts as dead at once, and the client never notices.
void Worker::backend_failed(Session& session, const std::string& why) {
  service_.scoreboard.mark(session.backend, false, why);
  retry(session);
}

void Worker::retry(Session& session) {
  ++service_.totals.retried;
  detach(session);
#ifdef MUTANT_BACKEND_DEATH
  end(session, "refused");
#else
  session.up.retarget();
  session.down = Relay();
  session.down.target_is_writable();  // whether it is, the first write will tell
  connect_next(session);
#endif
}

void Worker::relay(Session& session) {
  const std::uint64_t up_before = session.up.bytes();
  const std::uint64_t down_before = session.down.bytes();
  // What a server has sent before a reset is passed on first.
  const auto down = session.down.pump(session.server.get(), session.client.get(), pipes_);
  const auto up = session.up.pump(session.client.get(), session.server.get(), pipes_);
  const std::uint64_t moved_up = session.up.bytes() - up_before;
  const std::uint64_t moved_down = session.down.bytes() - down_before;
  if (moved_up + moved_down > 0) {
    service_.totals.bytes_up += moved_up;
    service_.totals.bytes_down += moved_down;
    idle_.renew(session.place, now_);
  }
  judge(session, up, down);
}

void Worker::judge(Session& session, Relay::Outcome up, Relay::Outcome down) {
  using enum Relay::Outcome;
  const bool client_failed = up == SourceFailed || down == TargetFailed;
  const bool server_failed = up == TargetFailed || down == SourceFailed;
  const bool untouched = session.up.bytes() == 0 && session.down.bytes() == 0 && !session.down.finished();
  if (up == NoPipe || down == NoPipe) {
    fail(session, "no descriptors");
  } else if (server_failed && !client_failed && untouched) {
    retry(session);
  } else if (client_failed || server_failed) {
    fail(session, client_failed ? "reset by client" : "reset by server");
#ifdef MUTANT_HALF_CLOSE_LOST
  } else if (up == Finished || down == Finished) {
#else
  } else if (up == Finished && down == Finished) {
#endif
    end(session, "done");
  } else if ((up == MoreToDo || down == MoreToDo) && !session.has_more_to_do) {
    session.has_more_to_do = true;
    with_more_to_do_.push_back(&session);
  }
}

void Worker::expire() {
  while (Session* session = connecting_.expired(now_)) backend_failed(*session, "it does not answer");
#ifndef MUTANT_NEVER_IDLE
  while (Session* session = idle_.expired(now_)) {
    ++service_.totals.idle;
    end(*session, "idle");
  }
#endif
}

void Worker::fail(Session& session, const char* how) {
  ++service_.totals.broken;
#ifndef MUTANT_RESET_LOST
  let_reset(session.client);
  let_reset(session.server);
#endif
  end(session, how);
}

void Worker::end(Session& session, [[maybe_unused]] const char* how) {
#ifdef MUTANT_LOGS_UNASKED
  log(session, how);
#elif defined MUTANT_LOGS_TOO_EARLY
#else
  if (service_.config.access_log) log(session, how);
#endif
  detach(session);
  give_up(std::move(session.client));
  if (session.has_more_to_do) std::erase(with_more_to_do_, &session);
  const std::size_t index = session.index;
  std::swap(sessions_[index], sessions_.back());
  sessions_[index]->index = index;
  ended_.push_back(std::move(sessions_.back()));
  sessions_.pop_back();
}

/// Let go of the backend, if there is one.
void Worker::detach(Session& session) {
  if (!session.server) return;
  service_.scoreboard.end(index_, session.backend);
  session.deadlines->remove(session.place);
  session.deadlines = nullptr;
  session.connected = false;
  give_up(std::move(session.server));
}

void Worker::give_up(Fd socket) {
  if (session_of(socket.get()) != nullptr) by_fd_[static_cast<std::size_t>(socket.get())] = nullptr;
  closing_.push_back(std::move(socket));
}

void Worker::wait_in(Session& session, Deadlines<Session>& deadlines) {
  if (session.deadlines != nullptr) session.deadlines->remove(session.place);
  session.deadlines = &deadlines;
  session.place = deadlines.add(&session, now_);
}

Worker::Session* Worker::session_of(int fd) const {
  const auto place = static_cast<std::size_t>(fd);
  return place < by_fd_.size() ? by_fd_[place] : nullptr;
}

void Worker::watch(int fd, Session& session) {
  const auto place = static_cast<std::size_t>(fd);
  if (place >= by_fd_.size()) by_fd_.resize(place + 1);
  by_fd_[place] = &session;
  epoll_.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

/// "10.0.1.10:43210 10.0.2.11:80 120 4096 0.012 done": who, to whom, bytes up and down, seconds, how it ended.
void Worker::log(const Session& session, const char* how) const {
  const std::chrono::duration<double> seconds = Clock::now() - session.begin;
  const std::string backend = session.server ? service_.config.backends[session.backend].text() : "-";
  std::ostringstream line;
  line << session.peer.text() << " " << backend << " " << session.up.bytes() << " " << session.down.bytes() << " "
       << std::fixed << std::setprecision(3) << seconds.count() << " " << how;
  log_line(line.str());
}
