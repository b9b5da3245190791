// Chat server over poll(2): what one member says is sent to all others. Book 9.6.2.
//
// Only whole lines are passed on, so that what two members say at once is not mixed up. Each member has a queue of what
// it has not taken yet; poll is asked for POLLOUT only while there is something in it. Who reads too slowly fills its
// own queue and is put out when that is full: the others neither wait for it nor pay for it with memory.
//
// Limits: one thread. A member that ends its side has left; it still gets what was said before.
#include <poll.h>

#include <algorithm>
#include <array>
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

/// One who takes part.
class Member {
 public:
  explicit Member(Fd socket) : socket_(std::move(socket)) {}

  [[nodiscard]] int fd() const { return socket_.get(); }

  /// Whether there is nothing more to do for it.
  [[nodiscard]] bool is_gone() const { return is_leaving_ && waiting_.empty(); }

  [[nodiscard]] short events() const {
    const int reading = is_leaving_ ? 0 : POLLIN;
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
      is_leaving_ = true;
      return {};
    }
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
#ifdef MUTANT_POLL_MASK
    has_written_ = true;
#endif
  }

  /// Let it leave after these last words.
  void dismiss(std::string_view words) {
    waiting_ += words;
    is_leaving_ = true;
  }

 private:
  /// Forget it together with what it was to hear.
  std::string abandon() {
    is_leaving_ = true;
    waiting_.clear();
    return {};
  }

  Fd socket_;
  std::string said_;     // the beginning of a line
  std::string waiting_;  // what it is to hear
  bool is_leaving_ = false;
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
      if (std::erase_if(members_, [](const Member& member) { return member.is_gone(); }) > 0) has_room_ = true;
      if (watched_[1].revents != 0 && !drain_.begun()) accept();
    }
  }

 private:
  void wait() {
    watched_ = {{signals_.fd(), POLLIN, 0}, {has_room_ ? listener_.get() : -1, POLLIN, 0}};
    for (const Member& member : members_) watched_.push_back({member.fd(), member.events(), 0});
    const bool looks_around = !has_room_ || drain_.begun();
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
      Member member(std::move(socket));
      if (members_.size() >= most_members_) {
        member.dismiss("there are too many members\n");
        member.send();  // into an empty buffer, so all of it
        return;
      }
      members_.push_back(std::move(member));
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
