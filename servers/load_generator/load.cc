#include "load_generator/load.h"

#include <sys/socket.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <utility>

#include "lib/check.h"
#include "lib/pending_error.h"

namespace {

constexpr std::size_t kBufferSize = 65'536;
constexpr std::chrono::milliseconds kLongestPause{50};  // until it is seen that the load is to stop

timespec as_timespec(std::chrono::nanoseconds span) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(span);
  return {.tv_sec = seconds.count(), .tv_nsec = (span - seconds).count()};
}

std::size_t share(std::size_t all, std::size_t parts, std::size_t index) {
  return (all / parts) + (index < all % parts ? 1 : 0);
}

}  // namespace

Load::Load(const Plan& plan, Shared& shared, std::size_t index, Clock::time_point begin)
    : plan_(plan),
      shared_(shared),
      begin_(begin),
      deadlines_(plan.timeout),
      connections_(share(plan.connections, plan.threads, index)),
      buffer_(kBufferSize) {
  for (Connection& connection : connections_) free_.push_back(&connection);
  if (plan.rate == 0) return;
  const std::chrono::duration<double> interval(static_cast<double>(plan.threads) / plan.rate);
  interval_ = std::chrono::ceil<std::chrono::nanoseconds>(interval);
  begin_ += interval_ * index / plan.threads;  // the threads take turns
  all_due_ = static_cast<std::uint64_t>((plan.duration + interval_ - std::chrono::nanoseconds{1}) / interval_);
}

Results Load::run() {
  if (plan_.rate != 0) start_timer();
  while (true) {
    begin_requests();
    if (busy_ == 0 && !asks_more()) return std::move(results_);
    for (const epoll_event& event : epoll_.wait(pause())) handle(event);
    expire();
  }
}

/// The kernel counts what is due; however late this thread looks, nothing is left out.
void Load::start_timer() {
  timer_.reset(check("timerfd_create", timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)));
  const itimerspec times{.it_interval = as_timespec(interval_), .it_value = as_timespec(begin_.time_since_epoch())};
  check("timerfd_settime", timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &times, nullptr));
  epoll_.add(timer_.get(), EPOLLIN);
}

bool Load::asks_more() const {
  if (exhausted_ || shared_.stopped) return false;
  return plan_.rate == 0 ? Clock::now() < begin_ + plan_.duration : begun_ < all_due_;
}

/// A connection that is free after requests were begun could not be made: a moment's rest, so as not to spin.
std::chrono::milliseconds Load::pause() const {
  const bool must_rest = plan_.rate == 0 && !free_.empty() && asks_more();
  return must_rest ? std::chrono::milliseconds{1} : deadlines_.until_next(Clock::now(), kLongestPause);
}

/// Whether one more request is within the number that was asked for.
bool Load::may_begin() {
  exhausted_ = exhausted_ || shared_.left.fetch_sub(1) <= 0;
  return !exhausted_;
}

void Load::begin_requests() {
  if (plan_.rate != 0) return begin_due_requests();
  for (Connection* connection : std::exchange(free_, {}))
    if (asks_more() && may_begin())
      begin(*connection, Clock::now());
    else
      free_.push_back(connection);
}

void Load::begin_due_requests() {
  while (begun_ < due_ && asks_more()) {
    const auto due = begin_ + interval_ * begun_;
    const bool is_too_late = due + plan_.timeout < Clock::now();
    if ((!is_too_late && free_.empty()) || !may_begin()) return;
    ++begun_;
    if (is_too_late) {  // it has waited for a connection as long as for an answer
      ++results_.requests;
      results_.count(Failure::Timeout);
    } else {
      Connection& connection = *free_.back();
      free_.pop_back();
#ifdef MUTANT_COORDINATED_OMISSION
      begin(connection, Clock::now());
#else
      begin(connection, due);
#endif
    }
  }
}

void Load::begin(Connection& connection, Clock::time_point due) {
  ++results_.requests;
  ++busy_;
  connection.due = due;
  connection.place = deadlines_.add(&connection, due);
  connection.parser = ResponseParser();
  connection.sent = 0;
  if (connection.state == State::Idle)
    send_rest(connection);
  else
    connect(connection);
}

void Load::connect(Connection& connection) {
  const Address& target = plan_.target;
  connection.socket.reset(socket(target.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
#ifdef MUTANT_ENDS_WITHOUT_DESCRIPTORS
  check("socket", connection.socket.get());
#endif
  if (!connection.socket) return fail(connection, Failure::Connect);  // no descriptors
  connection.state = State::Connecting;
  const int fd = connection.socket.get();
  if (::connect(fd, target.get(), target.size()) < 0 && errno != EINPROGRESS) return fail(connection, Failure::Connect);
  by_fd_.resize(std::max(by_fd_.size(), static_cast<std::size_t>(fd) + 1));
  by_fd_[static_cast<std::size_t>(fd)] = &connection;
  epoll_.add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

void Load::handle(const epoll_event& event) {
  if (event.data.fd == timer_.get()) {
    std::uint64_t count = 0;
    if (read(timer_.get(), &count, sizeof count) > 0) due_ = std::min(due_ + count, all_due_);
    return;
  }
  Connection* connection = by_fd_[static_cast<std::size_t>(event.data.fd)];
  if (connection == nullptr) return;  // closed in this turn; new ones are only made between turns
  if (connection->state == State::Connecting) {
    if (pending_error(event.data.fd) != 0) return fail(*connection, Failure::Connect);
    ++results_.connects;
    connection->state = State::Sending;
  }
  if (connection->state == State::Sending) send_rest(*connection);
  if ((event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0 && connection->socket)
    receive(*connection, (event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0);
}

void Load::send_rest(Connection& connection) {
  const std::string_view rest = std::string_view(plan_.request).substr(connection.sent);
  const ssize_t count =
      uninterrupted([&] { return send(connection.socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL); });
  if (count < 0 && !would_block()) return fail(connection, Failure::Reset);
  if (count > 0) connection.sent += static_cast<std::size_t>(count);
  connection.state = connection.sent == plan_.request.size() ? State::Receiving : State::Sending;
}

/// Read what there is: to the end if that has been announced, else until a read comes back short.
void Load::receive(Connection& connection, bool has_ended) {
  while (connection.socket) {
    const ssize_t count = uninterrupted([&] { return read(connection.socket.get(), buffer_.data(), buffer_.size()); });
    if (count < 0 && would_block()) return;
    if (count < 0) {
      if (connection.state == State::Ending || connection.state == State::Idle) return see_end(connection);
      return fail(connection, Failure::Reset);
    }
    if (count == 0) return see_end(connection);
    take(connection, {buffer_.data(), static_cast<std::size_t>(count)}, has_ended);
    if (static_cast<std::size_t>(count) < buffer_.size() && !has_ended) return;
  }
}

void Load::take(Connection& connection, std::string_view data, bool has_ended) {
  results_.bytes += data.size();
  if (connection.state == State::Ending) return;
  if (connection.state == State::Idle) {  // nobody has asked for that
    std::erase(free_, &connection);
    return set_free(connection, false);
  }
  ResponseParser& parser = connection.parser;
  const std::size_t used = parser.feed(data);
  if (parser.malformed() || used < data.size()) return fail(connection, Failure::Malformed);
  if (parser.complete()) answered(connection, has_ended);
}

/// The server has closed the connection.
void Load::see_end(Connection& connection) {
  if (connection.state == State::Idle) {
    std::erase(free_, &connection);
    return set_free(connection, false);
  }
  if (connection.state == State::Ending) {
    deadlines_.remove(connection.place);
    --busy_;
    return set_free(connection, false);
  }
  connection.parser.end();
  if (!connection.parser.complete()) return fail(connection, Failure::Incomplete);
  answered(connection, true);
}

/// Where the connection is not to be used again the server closes it, as it was told to: whoever closes first keeps
/// the pair of ports in TIME_WAIT for a minute, and a client has only so many.
void Load::answered(Connection& connection, bool has_ended) {
#ifndef MUTANT_ALL_IS_WELL
  if (connection.parser.status() >= 400)
    results_.count(Failure::Status);
  else
#endif
    results_.latency.record(static_cast<std::uint64_t>((Clock::now() - connection.due) / std::chrono::nanoseconds{1}));
  const bool stays_open = plan_.keep_alive && connection.parser.keeps_alive() && !has_ended;
  if (!stays_open && !has_ended) {
    connection.state = State::Ending;
    return;
  }
  deadlines_.remove(connection.place);
  --busy_;
  set_free(connection, stays_open);
}

void Load::fail(Connection& connection, Failure failure) {
#ifdef MUTANT_ALL_IS_WELL
  results_.latency.record(static_cast<std::uint64_t>(failure));
#else
  results_.count(failure);
#endif
  deadlines_.remove(connection.place);
  --busy_;
  set_free(connection, false);
}

void Load::set_free(Connection& connection, bool stays_open) {
  connection.state = stays_open ? State::Idle : State::Closed;
  if (!stays_open) {
    const auto fd = static_cast<std::size_t>(connection.socket.get());
    if (fd < by_fd_.size()) by_fd_[fd] = nullptr;
    connection.socket.reset();
  }
  free_.push_back(&connection);
}

void Load::expire() {
  const auto now = Clock::now();
  while (Connection* connection = deadlines_.expired(now))
    if (connection->state == State::Ending)
      see_end(*connection);
    else
      fail(*connection, Failure::Timeout);
}
