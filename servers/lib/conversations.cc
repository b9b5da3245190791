#include "lib/conversations.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <list>
#include <span>
#include <unordered_map>

#include "lib/accept.h"
#include "lib/check.h"
#include "lib/epoll.h"
#include "lib/server.h"

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using Next = Conversation::Next;

constexpr milliseconds kLastPatience{2000};  // when the server is to end
constexpr milliseconds kLastLook{20};        // then too: how often to see who has got everything
constexpr std::size_t kDiscarded = 65'536;

/// After the last word: whatever the client still says is thrown away, up to its end.
class Farewell final : public Conversation {
 public:
  [[nodiscard]] std::uint32_t events() const override { return EPOLLIN; }

  Next proceed(int socket) override {
    // MSG_TRUNC: TCP throws the bytes away without copying them (tcp(7)).
    const ssize_t count = uninterrupted([&] { return recv(socket, nullptr, kDiscarded, MSG_TRUNC); });
    return count > 0 || (count < 0 && would_block()) ? Next::kGoOn : Next::kOver;
  }
};

struct Guest {
  Fd socket;
  std::unique_ptr<Conversation> conversation;
  std::uint32_t events;  // that epoll waits for
  Clock::time_point since;
  bool is_leaving = false;
};

class Host {
 public:
  Host(const SignalPipe& signals, Fd listener, milliseconds patience, const MakeConversation& make)
      : signals_(signals), listener_(std::move(listener)), patience_(patience), make_(make), prepared_(make()) {
    epoll_.add(signals_.fd(), EPOLLIN);
    epoll_.add(listener_.get(), EPOLLIN);
  }

  void serve() {
    while (listener_ || !guests_.empty()) {
      bool is_told_to_end = false;
      for (const epoll_event& event : wait()) {
        if (event.data.fd == signals_.fd()) {
          is_told_to_end = !signals_.take().empty();
        } else if (event.data.fd == listener_.get()) {
          accept_all();
        } else if (const auto found = by_socket_.find(event.data.fd); found != by_socket_.end()) {
          attend_to(found->second);
        }
      }
      see_off_the_silent();
      if (is_told_to_end) {
        if (!listener_) return;  // told so twice
        begin_to_end();
      }
      if (!listener_) see_off_the_served();
    }
  }

 private:
  // All have the same patience, so who comes first in the order of their last sign of life runs out of it first.
  using Guests = std::list<Guest>;

  std::span<const epoll_event> wait() {
    const milliseconds forever{-1};
    milliseconds left = forever;
    if (!guests_.empty())
      left = std::max(milliseconds{0}, ceil<milliseconds>(guests_.front().since + patience_ - Clock::now()));
    if (!listener_) return epoll_.wait(std::min(left, kLastLook));  // that something has arrived is no event
    if (!is_full_) return epoll_.wait(left);

    // Clients that wait keep the listener readable: asking for it now would burn the processor.
    epoll_.modify(listener_.get(), 0);
    const auto events = epoll_.wait(left == forever ? kAcceptPause : std::min(left, kAcceptPause));
    epoll_.modify(listener_.get(), EPOLLIN);
    is_full_ = false;
    return events;
  }

  void accept_all() {
    while (true) {
      if (!prepared_) prepared_ = make_();
      Fd socket;
      const Accepted accepted = prepared_ ? accept_one(listener_.get(), socket) : Accepted::kFull;
      is_full_ = accepted == Accepted::kFull;
      if (accepted != Accepted::kTaken) return;
      welcome(std::move(socket));
    }
  }

  void welcome(Fd socket) {
    const int fd = socket.get();
    const std::uint32_t events = prepared_->events();
    guests_.push_back({std::move(socket), std::move(prepared_), events, Clock::now()});
    by_socket_[fd] = std::prev(guests_.end());
    epoll_.add(fd, events);
  }

  void attend_to(Guests::iterator guest) {
    const int socket = guest->socket.get();
    if (!guest->is_leaving) {  // who talks on after the last word gains no time by it
      guest->since = Clock::now();
      guests_.splice(guests_.end(), guests_, guest);
    }
    Next next = proceed(*guest);
    if (next == Next::kSaidAll) {
      next = shutdown(socket, SHUT_WR) == 0 ? Next::kGoOn : Next::kOver;
      guest->conversation = std::make_unique<Farewell>();
      guest->is_leaving = true;
    }
    if (next == Next::kOver) return see_off(guest);
    if (const std::uint32_t events = guest->conversation->events(); events != guest->events)
      epoll_.modify(socket, guest->events = events);
  }

  /// What goes wrong in one conversation costs that one only.
  static Next proceed(const Guest& guest) {
    try {
      return guest.conversation->proceed(guest.socket.get());
    } catch (const std::system_error& error) {
      log_line(error.what());
      return Next::kOver;
    }
  }

  void see_off(Guests::iterator guest) {
    by_socket_.erase(guest->socket.get());
    guests_.erase(guest);
  }

  void see_off_the_silent() {
    while (!guests_.empty() && guests_.front().since + patience_ <= Clock::now()) see_off(guests_.begin());
  }

  /// Whether something is still to be written, or is written and has not arrived.
  static bool is_owed_something(const Guest& guest) {
    if (!guest.is_leaving) return (guest.events & EPOLLOUT) != 0;
    int unacknowledged = 0;
    check("SIOCOUTQ", ioctl(guest.socket.get(), SIOCOUTQ, &unacknowledged));
    return unacknowledged > 0;
  }

  void begin_to_end() {
    accept_all();  // whoever is connected already would meet a reset
    listener_.reset();
    is_full_ = false;
    patience_ = std::min(patience_, kLastPatience);
    for (Guest& guest : guests_) guest.since = Clock::now();
  }

  /// Once the server is to end: nobody is waited for to whom nothing is owed.
  void see_off_the_served() {
    for (auto guest = guests_.begin(); guest != guests_.end();) {
      const auto current = guest++;
      if (!is_owed_something(*current)) see_off(current);
    }
  }

  const SignalPipe& signals_;
  Fd listener_;
  milliseconds patience_;
  const MakeConversation& make_;
  std::unique_ptr<Conversation> prepared_;  // for whoever is accepted next
  Epoll epoll_;
  bool is_full_ = false;  // no more descriptors
  Guests guests_;
  std::unordered_map<int, Guests::iterator> by_socket_;
};

}  // namespace

Next Speech::proceed(int socket) {
  const ssize_t count = uninterrupted([&] { return write(socket, text_.data() + said_, text_.size() - said_); });
  if (count < 0) return would_block() ? Next::kGoOn : Next::kOver;
  said_ += static_cast<std::size_t>(count);
  return said_ == text_.size() ? Next::kSaidAll : Next::kGoOn;
}

void converse(const SignalPipe& signals, Fd listener, milliseconds patience, const MakeConversation& make) {
  Host host(signals, std::move(listener), patience, make);
  announce_ready();
  host.serve();
}
