// Chat server over poll(2): what one member says is sent to all others. Book 9.6.2.
//
// Only whole lines are passed on, so that what two members say at once is not mixed up. Each member has a queue of what
// it has not taken yet; poll is asked for POLLOUT only while there is something in it. Who reads too slowly fills its
// own queue and is put out when that is full: the others neither wait for it nor pay for it with memory.
//
// Whom the server puts out hears why: its side is ended, and what it still says is thrown away, for a while. To close
// at once while some of that is unread would reset the connection, and a reset takes back what was not read yet.
//
// Limits: one thread. A member that ends its side has left; it still gets what was said before.
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <string>
#include <string_view>
#include <vector>

#include "lib/accept.h"
#include "lib/drain.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"

#ifdef MUTANT_SLOW_READER_STALLS
#include <fcntl.h>
#endif

namespace {

constexpr std::size_t kLongestLine = 4096;
constexpr std::size_t kLongestQueue = std::size_t{256} << 10;
constexpr std::chrono::seconds kFarewell{2};  // for a member to end its side, after the server has

/// One who takes part.
class Member {
 public:
  explicit Member(Fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }

  [[nodiscard]] bool takes_part() const { return !is_leaving_; }

  /// Whether there is nothing more to do for it.
  [[nodiscard]] bool is_gone() const { return has_ended_ && waiting_.empty(); }

  /// Whether it has heard its last words and is given time to end its side.
  [[nodiscard]] bool is_awaited() const { return is_leaving_ && waiting_.empty() && !has_ended_; }

  [[nodiscard]] short events() const {
    const int reading = is_leaving_ && !is_awaited() ? 0 : POLLIN;
#ifdef MUTANT_POLL_MASK
    return static_cast<short>(reading | (has_written_ ? ~POLLIN : 0));
#else
    return static_cast<short>(reading | (waiting_.empty() ? 0 : POLLOUT));
#endif
  }

  /// Read what has come and return the whole lines of it.
  std::string receive() {
    std::array<char, 16'384> buffer;
    const ssize_t count = uninterrupted([&] { return read(fd(), buffer.data(), buffer.size()); });
    if (count < 0 && would_block()) return {};
    if (count < 0) return abandon();
    if (count == 0) {
      is_leaving_ = has_ended_ = true;
      return {};
    }
    if (is_leaving_) return {};
    said_.append(buffer.data(), static_cast<std::size_t>(count));
#ifdef MUTANT_SPLIT_LINES
    return std::exchange(said_, {});
#else
    std::string lines = said_.substr(0, said_.rfind('\n') + 1);
    said_.erase(0, lines.size());
    if (said_.size() > kLongestLine) dismiss("your line is too long\n");
    return lines;
#endif
  }

  /// Let it hear something, unless it has too much to hear already.
  void tell(std::string_view text) {
    if (is_leaving_) return;
#ifdef MUTANT_SLOW_READER_STALLS
    fcntl(fd(), F_SETFL, 0);
    waiting_ += text;
    return send();
#else
    waiting_ += text;
    if (waiting_.size() > kLongestQueue) {
      log_line("a member reads too slowly and is put out");
      abandon();
    }
#endif
  }

  void send() {
    const ssize_t count = uninterrupted([&] { return write(fd(), waiting_.data(), waiting_.size()); });
    if (count < 0 && !would_block()) abandon();
    if (count > 0) waiting_.erase(0, static_cast<std::size_t>(count));
    if (is_awaited()) see_out();
#ifdef MUTANT_POLL_MASK
    has_written_ = true;
#endif
  }

  /// Let it leave after these last words.
  void dismiss(std::string_view words) {
    waiting_ += words;
    is_leaving_ = true;
    if (is_awaited()) see_out();
  }

  /// Wait no longer for a member that does not end its side.
  void lose_patience(std::chrono::steady_clock::time_point now) {
    if (is_awaited() && now >= awaited_until_) abandon();
  }

 private:
  /// Say that it will hear no more.
  void see_out() {
#ifdef MUTANT_LAST_WORDS_LOST
    abandon();
#else
    if (shutdown(fd(), SHUT_WR) < 0) abandon();
    awaited_until_ = std::chrono::steady_clock::now() + kFarewell;
#endif
  }

  /// Forget it together with what it was to hear.
  std::string abandon() {
    is_leaving_ = has_ended_ = true;
    waiting_.clear();
    return {};
  }

  Fd socket_;
  std::string said_;         // the beginning of a line
  std::string waiting_;      // what it is to hear
  bool is_leaving_ = false;  // nothing is said any more, by it or to it
  bool has_ended_ = false;   // its side
  std::chrono::steady_clock::time_point awaited_until_;
#ifdef MUTANT_POLL_MASK
  bool has_written_ = false;
#endif
};

class Server {
 public:
  Server(const Options& options, std::size_t most_members)
      : most_members_(most_members), listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)) {}

  void run() {
    announce_ready();
    while (!drain_.over(!members_.empty())) {
      wait();
      if (!signals_.take().empty()) end();
      for (std::size_t i = 0; i < members_.size(); ++i) serve(i, watched_[i + 2].revents);
      const auto now = std::chrono::steady_clock::now();
      for (Member& member : members_) member.lose_patience(now);
      if (std::erase_if(members_, [](const Member& member) { return member.is_gone(); }) > 0) has_room_ = true;
      if (watched_[1].revents != 0 && !drain_.begun()) accept();
    }
  }

 private:
  void wait() {
    watched_ = {{signals_.fd(), POLLIN, 0}, {has_room_ ? listener_.get() : -1, POLLIN, 0}};
    for (const Member& member : members_) watched_.push_back({member.fd(), member.events(), 0});
    const bool looks_around = !has_room_ || drain_.begun() || std::ranges::any_of(members_, &Member::is_awaited);
    const int timeout = looks_around ? static_cast<int>(kAcceptPause.count()) : -1;
    const int count = poll(watched_.data(), watched_.size(), timeout);
    if (count < 0 && errno != EINTR) check("poll", count);  // after a signal no revents are set
    if (count == 0) has_room_ = true;
  }

  void serve(std::size_t speaker, short events) {
    if ((events & POLLOUT) != 0) members_[speaker].send();
    if ((events & ~POLLOUT) == 0) return;
    const std::string lines = members_[speaker].receive();
    if (lines.empty()) return;
    for (std::size_t i = 0; i < members_.size(); ++i) {
#ifndef MUTANT_TO_SENDER
      if (i != speaker)
#endif
        members_[i].tell(lines);
    }
  }

  void accept() {
    has_room_ = accept_all(listener_.get(), [&](Fd socket) {
      const auto there = std::ranges::count_if(members_, &Member::takes_part);
      members_.emplace_back(std::move(socket));
      if (static_cast<std::size_t>(there) < most_members_) return;
      members_.back().dismiss("there are too many members\n");
      members_.back().send();  // into an empty buffer, so all of it
    });
  }

  void end() {
    drain_.begin();
    listener_.reset();
    for (Member& member : members_) member.dismiss("");
  }

  const std::size_t most_members_;
  const SignalPipe signals_{SIGTERM, SIGINT};  // before the listener, so that no signal meets the default action
  Fd listener_;
  std::vector<Member> members_;
  std::vector<pollfd> watched_;  // signals, listener, members in their order
  bool has_room_ = true;
  Drain drain_;
};

void serve(int argc, char** argv) {
  Options options;
  std::string members = "100";
  parse(argc, argv, "chat server over poll(2)", options,
        {{"--members", "N", "how many may take part (default: " + members + ")", &members}});
  Server(options, static_cast<std::size_t>(number("--members", members, 1, 10'000))).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
