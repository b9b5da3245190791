#include "web/worker.h"

#include <sys/socket.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "lib/accept.h"

namespace web {

namespace {

using namespace std::chrono_literals;

/// So many connections are accepted before those that are there get their turn, and before other workers' chance.
constexpr int kAcceptTurn = 8;

constexpr auto kLogDelay = 1s;

}  // namespace

Worker::Worker(const Shared& shared, Counters& counters)
    : shared_(shared),
      context_{shared.settings, Responder(shared.root), AccessLog(shared.access_log), counters},
      timeouts_{shared.settings.idle_timeout, shared.settings.request_timeout, shared.settings.idle_timeout,
                shared.settings.linger_timeout} {
#ifdef MUTANT_IDLE_NEVER
  timeouts_[0] = std::chrono::hours(1);
#endif
  epoll_.add(shared.stop, EPOLLIN);
  listen(true);
}

void Worker::run(const std::function<void()>& accepts_no_more) {
  while (!is_done()) {
    const auto events = epoll_.wait(patience());
    now_ = Clock::now();
    context_.responder.set_time(std::time(nullptr));
    for (const epoll_event& event : events) handle(event);
    if (accept_again_ <= now_) listen(true);
    // Not among the events: it closes connections, whose events may still be to come.
    if (stop_seen_ && !context_.draining) {
      begin_to_drain();
      accepts_no_more();
    }
    expire();
    flush_log();
  }
  Counters::add(context_.counters.unlogged, context_.log.flush());
}

void Worker::handle(const epoll_event& event) {
  const int fd = event.data.fd;
  if (fd == shared_.stop) {
    stop_seen_ = true;
  } else if (fd == shared_.listener) {
    accept_some();
  } else {
    const auto client = by_fd_.at(static_cast<std::size_t>(fd));
    const Phase before = client->connection.phase();
#ifdef MUTANT_RDHUP_BEFORE_IN
    if ((event.events & EPOLLRDHUP) != 0) client->connection.abandon();
#endif
    client->connection.serve();
    place(client, before);
  }
}

/// Accept what waits; false if that is all, or all that there is room for.
bool Worker::accept_some() {
  for (int i = 0; i < kAcceptTurn; ++i) {
    if (is_full()) break;
    Fd socket;
    const Accepted accepted = accept_one(shared_.listener, socket);
    if (accepted == Accepted::kNobody) return false;
    if (accepted == Accepted::kFull) {
      // The listener stays readable: to go on watching it would be to spin.
#ifndef MUTANT_ACCEPT_SPINS
      listen(false);
      accept_again_ = now_ + kAcceptPause;
#endif
      return false;
    }
    take(std::move(socket));
#ifdef MUTANT_FULL_AND_LISTENING
    if (i + 1 == kAcceptTurn) return true;
#endif
  }
  // At once, not when the next one comes: that would wake this worker, and no other.
  if (is_full()) listen(false);
  return !is_full();
}

bool Worker::is_full() const {
#ifdef MUTANT_NO_LIMIT
  return false;
#else
  return open_ >= shared_.settings.connections;
#endif
}

/// Serve a new client at once: its request has mostly come by now, and one that is answered need not be watched.
void Worker::take(Fd socket) {
  const auto fd = static_cast<std::size_t>(socket.get());
  Clients& idle = in_phase(Phase::kIdle);
  const auto client = idle.emplace(idle.end(), std::move(socket), context_, now_);
  if (by_fd_.size() <= fd) by_fd_.resize(fd + 1);
  by_fd_[fd] = client;
  ++open_;
  Counters::add(context_.counters.accepted);
  Counters::add(context_.counters.open);
  client->connection.serve();
  place(client, Phase::kIdle);
}

/// Watch the listener, or leave it to others.
void Worker::listen(bool on) {
  if (on == listening_) return;
  listening_ = on;
  if (on) {
    epoll_.add(shared_.listener, EPOLLIN | EPOLLEXCLUSIVE);
    accept_again_ = Clock::time_point::max();
  } else {
    epoll_.remove(shared_.listener);
  }
}

/// Put a connection where it belongs after something was done with it.
void Worker::place(Clients::iterator client, Phase before) {
  Connection& connection = client->connection;
  const Phase phase = connection.phase();
  if (phase == Phase::kClosed) {
    in_phase(before).erase(client);
    --open_;
    context_.counters.open.fetch_sub(1, std::memory_order_relaxed);
    if (!context_.draining && accept_again_ == Clock::time_point::max()) listen(true);
    return;
  }
  watch(*client, phase == Phase::kSending ? EPOLLOUT : EPOLLIN);
  if (connection.take_progress() || phase != before) {
    client->since = now_;
    Clients& there = in_phase(phase);
    there.splice(there.end(), in_phase(before), client);
  }
}

void Worker::watch(Client& client, std::uint32_t events) {
#ifdef MUTANT_RDHUP_BEFORE_IN
  events |= EPOLLRDHUP;
#endif
  const std::uint32_t before = std::exchange(client.events, events);
  if (before == 0) {
    epoll_.add(client.connection.fd(), events);
  } else if (before != events) {
    epoll_.modify(client.connection.fd(), events);
  }
}

/// Accept who has connected already, and let idle connections go, but for those whose next request is here.
void Worker::begin_to_drain() {
  context_.draining = true;
  while (accept_some()) {
  }
  listen(false);
  accept_again_ = Clock::time_point::max();
  epoll_.remove(shared_.stop);
#ifdef MUTANT_STOPS_AT_ONCE
  drained_at_latest_ = now_;
#elif defined MUTANT_DRAINS_FOR_EVER
#else
  drained_at_latest_ = now_ + shared_.settings.drain_timeout;
#endif
  Clients& idle = in_phase(Phase::kIdle);
  for (auto client = idle.begin(); client != idle.end();) {
    const auto here = client++;
    here->connection.serve();
    place(here, Phase::kIdle);
  }
}

void Worker::expire() {
  for (std::size_t i = 0; i < phases_.size(); ++i) {
    const auto phase = static_cast<Phase>(i);
    while (!phases_[i].empty() && phases_[i].front().since + timeouts_[i] <= now_) {
      const auto client = phases_[i].begin();
      client->connection.time_out();
      place(client, phase);
    }
  }
}

void Worker::flush_log() {
  if (context_.log.empty()) {
    log_at_latest_ = Clock::time_point::max();
  } else if (log_at_latest_ == Clock::time_point::max()) {
    log_at_latest_ = now_ + kLogDelay;
  } else if (log_at_latest_ <= now_) {
    Counters::add(context_.counters.unlogged, context_.log.flush());
    log_at_latest_ = Clock::time_point::max();
  }
}

/// How long epoll may wait: until something is due.
std::chrono::milliseconds Worker::patience() const {
  auto due = std::min({accept_again_, drained_at_latest_, log_at_latest_});
  for (std::size_t i = 0; i < phases_.size(); ++i)
    if (!phases_[i].empty()) due = std::min(due, phases_[i].front().since + timeouts_[i]);
  if (due == Clock::time_point::max()) return -1ms;
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(due - Clock::now()), 0ms);
}

bool Worker::is_done() const { return context_.draining && (open_ == 0 || drained_at_latest_ <= now_); }

}  // namespace web
