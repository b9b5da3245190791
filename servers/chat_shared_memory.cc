// Chat server with a process per member; what is said lies in memory that all of them share. Book 13.6.
//
// A line is written once, into a log of the last 512 lines, and every process sends it to its member from there.
// The log is guarded by a mutex that processes share, and that outlives a process killed while it held it (robust).
// A process that has written tells the parent by a byte, and the parent tells the others: the bytes say "look", so one
// may stand for many. The memory has a name (shm_open) only until the parent has mapped it: the children inherit it,
// and nothing can be left behind in /dev/shm.
//
// A member who does not read misses nothing until the log has gone round; then he is sent away. He holds up nobody, and
// no process keeps more for him than one piece of the log.
//
// Limits: a line is cut at 500 bytes; 1000 members.
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "lib/accept.h"
#include "lib/check.h"
#include "lib/child.h"
#include "lib/drain.h"
#include "lib/options.h"
#include "lib/pass_fd.h"
#include "lib/server.h"
#include "lib/shared_memory.h"
#include "lib/signal_pipe.h"

namespace {

constexpr std::size_t kLongest = 500;
constexpr std::size_t kLines = 512;
constexpr std::size_t kMembers = 1000;

/// One line of the log.
struct Line {
  pid_t author;
  std::size_t size;
  std::array<char, kLongest> text;
};

/// What has been said, as all processes see it. A plain structure: it lies in shared memory.
class Log {
 public:
  Log() {
    pthread_mutexattr_t attributes;
    check_result("pthread_mutexattr_init", pthread_mutexattr_init(&attributes));
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    const int error = pthread_mutex_init(&mutex_, &attributes);
    pthread_mutexattr_destroy(&attributes);
    check_result("pthread_mutex_init", error);
  }

  void add(std::string_view text) {
    lock();
    Line& line = lines_[said_ % kLines];
    line.author = getpid();
    line.size = std::min(text.size(), kLongest);
    std::memcpy(line.text.data(), text.data(), line.size);
    ++said_;  // last, so that a line is there whole or not at all, whenever its author is killed
    pthread_mutex_unlock(&mutex_);
  }

  /// How many lines have been said so far.
  std::uint64_t said() {
    lock();
    const std::uint64_t said = said_;
    pthread_mutex_unlock(&mutex_);
    return said;
  }

  /// Append the lines of others from `next` on to `out`, up to about `most` bytes; false if some are lost.
  bool read(std::uint64_t& next, std::string& out, std::size_t most) {
    lock();
#ifdef MUTANT_LAPPED
    const bool has_all = true;
#else
    // One less than there are: where the next line goes its author may have been killed while he wrote.
    const bool has_all = said_ - next < kLines;
#endif
    for (; has_all && next < said_ && out.size() < most; ++next) {
      const Line& line = lines_[next % kLines];
#ifndef MUTANT_TO_SELF
      if (line.author == getpid()) continue;
#endif
      out.append(line.text.data(), line.size).push_back('\n');
    }
    pthread_mutex_unlock(&mutex_);
    return has_all;
  }

 private:
  void lock() {
    const int error = pthread_mutex_lock(&mutex_);
    if (error == EOWNERDEAD) {  // its owner was killed, and left nothing half done that counts
      check_result("pthread_mutex_consistent", pthread_mutex_consistent(&mutex_));
      return;
    }
    check_result("pthread_mutex_lock", error);
  }

  pthread_mutex_t mutex_{};
  std::uint64_t said_ = 0;
  std::array<Line, kLines> lines_{};
};

/// Return a shared memory object that is open and has no name any more.
Fd open_memory(std::size_t size) {
  const std::string name = "/chat_shared_memory." + std::to_string(getpid());
  shm_unlink(name.c_str());  // of a process that had this number before, and was killed between these lines
  Fd memory(check("shm_open", shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)));
#ifndef MUTANT_SHM_LEFT
  check("shm_unlink", shm_unlink(name.c_str()));
#endif
  check("ftruncate", ftruncate(memory.get(), static_cast<off_t>(size)));
  return memory;
}

/// Read and forget what has come; false when the other end is closed. The descriptor does not block.
bool drain(int fd) {
  std::array<char, 256> bytes{};
  ssize_t count = 0;
  while ((count = uninterrupted([&] { return read(fd, bytes.data(), bytes.size()); })) > 0) {
  }
  return count < 0 && would_block();
}

/// Say "look" to the other process. If there is no room, it has plenty to read of the same kind.
void nudge(int fd) { [[maybe_unused]] const ssize_t count = send(fd, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT); }

/// A member, in a process of its own.
class Member {
 public:
  Member(Log& log, int socket, int parent, std::uint64_t next)
      : log_(log), socket_(socket), parent_(parent), next_(next) {}

  void chat() {
    const SignalPipe signals{SIGTERM, SIGINT};
    while (true) {
      const int events = POLLIN | (out_.empty() ? 0 : POLLOUT);
      std::array<pollfd, 3> watched{
          {{socket_, static_cast<short>(events), 0}, {parent_, POLLIN, 0}, {signals.fd(), POLLIN, 0}}};
      check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), -1); }));
      if (watched[1].revents != 0 && !drain(parent_)) return;
      // As if the member had left now: what he has said until here still counts.
      if (!signals.take().empty()) shutdown(socket_, SHUT_RD);
      const bool stays = (watched[0].revents & ~POLLOUT) == 0 || listen_to();
      if (!tell() || !stays) return;
    }
  }

 private:
  /// Write what the member has sent into the log, line by line; false when he has left.
  bool listen_to() {
    std::array<char, 4096> buffer{};
    const ssize_t count = uninterrupted([&] { return read(socket_, buffer.data(), buffer.size()); });
    if (count < 0 && would_block()) return true;
    if (count > 0) in_.append(buffer.data(), static_cast<std::size_t>(count));
    if (count <= 0 && !in_.empty()) in_.push_back('\n');  // he has left without ending his last line
    bool has_said = false;
    for (std::size_t end = 0; (end = line_end()) != std::string::npos; has_said = true) {
      log_.add(std::string_view(in_).substr(0, end));
      in_.erase(0, end + (in_[end] == '\n' ? 1 : 0));
    }
    if (has_said) nudge(parent_);
    return count > 0;
  }

  /// Where the first line ends: at its end, or where it is too long.
  [[nodiscard]] std::size_t line_end() const {
    const std::size_t end = in_.find('\n');
    return end > kLongest && in_.size() > kLongest ? kLongest : end;
  }

  /// Send as much of the log as the member takes; false when he is to be sent away.
  bool tell() {
    while (true) {
      if (out_.empty() && !log_.read(next_, out_, 16'384)) {
        log_line("member " + std::to_string(getpid()) + " is too slow");
        return false;
      }
      if (out_.empty()) return true;
      const ssize_t count = send(socket_, out_.data(), out_.size(), MSG_NOSIGNAL);
      if (count < 0) return would_block();
      out_.erase(0, static_cast<std::size_t>(count));
    }
  }

  Log& log_;
  int socket_;
  int parent_;
  std::uint64_t next_;  // line of the log
  std::string in_;      // what has come of a line
  std::string out_;     // what the member has still to be sent
};

class Chat {
 public:
  explicit Chat(const Options& options)
      : log_(open_memory(sizeof(Log)).get()), listener_(listen_on(options.address(), options.backlog, SOCK_NONBLOCK)) {
    announce_ready();
  }
  ~Chat() {
    for (const auto& [pid, channel] : members_) kill(pid, SIGKILL);
    for (const auto& [pid, channel] : members_) waitpid(pid, nullptr, 0);
  }
  Chat(const Chat&) = delete;
  Chat& operator=(const Chat&) = delete;
  Chat(Chat&&) = delete;
  Chat& operator=(Chat&&) = delete;

  void run() {
    bool is_refused = false;
    std::vector<pollfd> watched;
    while (!drain_.over(!members_.empty())) {
      const bool has_room = !is_refused && members_.size() < kMembers;
      watched = {{signals_.fd(), POLLIN, 0}, {has_room ? listener_.get() : -1, POLLIN, 0}};
      for (const auto& [pid, channel] : members_) watched.push_back({channel.get(), POLLIN, 0});
      const bool looks_around = is_refused || drain_.begun();
      const int timeout = looks_around ? static_cast<int>(kAcceptPause.count()) : -1;
      check("poll", uninterrupted([&] { return poll(watched.data(), watched.size(), timeout); }));

      bool has_news = false;
      for (std::size_t i = 2; i < watched.size(); ++i) {
        if (watched[i].revents == 0) continue;
        drain(watched[i].fd);
        has_news = true;
      }
      const std::set<int> signals = signals_.take();
      if (signals.contains(SIGCHLD) && reap()) has_news = true;  // one who leaves may have said something just before
      if (has_news)
        for (const auto& [pid, channel] : members_) nudge(channel.get());
      if (signals.contains(SIGTERM) || signals.contains(SIGINT)) end();
      is_refused = watched[1].revents != 0 && listener_ && !accept_one();
    }
  }

 private:
  /// False if there is no descriptor or no process to be had now.
  bool accept_one() {
    Fd socket;
    const Accepted accepted = ::accept_one(listener_.get(), socket);
    if (accepted != Accepted::kTaken) return accepted == Accepted::kNobody;
    try {
      std::array<Fd, 2> ends = socket_pair();
      Fd& ours = ends[0];
      Fd& theirs = ends[1];
      for (const Fd* end : {&ours, &theirs}) check("fcntl", fcntl(end->get(), F_SETFL, O_NONBLOCK));
      const std::uint64_t next = log_->said();
      const pid_t pid = fork_child([&] {
        listener_.reset();
        ours.reset();
        members_.clear();  // the parent's ends of the others' channels: a member must not keep them open
        Member(*log_, socket.get(), theirs.get(), next).chat();
        return 0;
      });
      members_.emplace(pid, std::move(ours));
      return true;
    } catch (const std::system_error& error) {
      log_line(error.what());
      return false;
    }
  }

  void end() {
    drain_.begin();
    listener_.reset();
    for (const auto& [pid, channel] : members_) kill(pid, SIGTERM);
  }

  /// Forget the members who have left; true if there are any.
  bool reap() {
    const std::size_t before = members_.size();
    while (const auto ended = reap_one()) {
      if (WIFSIGNALED(ended->status) && WTERMSIG(ended->status) != SIGTERM)
        log_line("member " + std::to_string(ended->pid) + " was killed by signal " +
                 std::to_string(WTERMSIG(ended->status)));
      members_.erase(ended->pid);
    }
    return members_.size() < before;
  }

  SignalPipe signals_{SIGTERM, SIGINT, SIGCHLD};
  Shared<Log> log_;
  Fd listener_;
  std::map<pid_t, Fd> members_;  // and the parent's end of the channel to each
  Drain drain_;
};

void serve(int argc, char** argv) {
  Options options;
  parse(argc, argv, "chat server with a process per member, over shared memory", options);
  Chat(options).run();
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
