// A System V message queue between two processes: messages have types, and a reader chooses among them. Book 13.7.
//
// Lines of standard input become messages: those that begin with "!" are urgent (type 1), others ordinary (type 2).
// One process puts them in; another takes them out, whatever is urgent first, and prints them, from when the queue is
// full or the input has ended. The last message (type 3) tells it that there are no more. Messages keep their bounds,
// as datagrams do, and their order within a type. A third process does nothing but watch over the two and remove the
// queue: poll(2) knows nothing of message queues, and who waits in msgsnd(2) has no safe way to see a signal come.
//
// Limits: a line is cut at 1000 bytes; what the queue holds is limited (msgmnb), and msgsnd(2) waits when it is full.
#include <poll.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <cstring>
#include <iostream>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>

#include "lib/check.h"
#include "lib/child.h"
#include "lib/options.h"
#include "lib/pass_fd.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"
#include "lib/stream.h"

namespace {

enum Type : long { kUrgent = 1, kOrdinary = 2, kEnd = 3 };

/// What msgsnd(2) takes: a type, which is more than 0, and bytes.
struct Message {
  long type;
  std::array<char, 1000> text;
};

/// A queue of the program's own, removed at the end: whoever waits in it then is told (EIDRM).
class Queue {
 public:
  Queue() : id_(check("msgget", msgget(IPC_PRIVATE, 0600))) {}
  ~Queue() {
#ifndef MUTANT_QUEUE_LEFT
    msgctl(id_, IPC_RMID, nullptr);
#endif
  }
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  Queue(Queue&&) = delete;
  Queue& operator=(Queue&&) = delete;

  [[nodiscard]] int id() const { return id_; }

  /// False if the queue is full, and `flags` is IPC_NOWAIT.
  [[nodiscard]] bool send(Type type, std::string_view text, int flags) const {
    Message message{type, {}};
    const std::size_t size = std::min(text.size(), message.text.size());
    std::memcpy(message.text.data(), text.data(), size);
    const int result = uninterrupted([&] { return msgsnd(id_, &message, size, flags); });
    if (result < 0 && would_block()) return false;
    check("msgsnd", result);
    return true;
  }

  /// Take out the first of those messages whose type is the lowest there is.
  Message receive(std::size_t& size) const {
    Message message{};
#ifdef MUTANT_FIRST_COME
    constexpr long kWanted = 0;  // any type: the first message
#else
    constexpr long kWanted = -kEnd;  // the lowest type up to this
#endif
    size = static_cast<std::size_t>(
        check("msgrcv", uninterrupted([&] { return msgrcv(id_, &message, message.text.size(), kWanted, 0); })));
    return message;
  }

 private:
  int id_;
};

/// Put all lines of standard input into the queue, and an end to them if somebody reads.
///
/// @param begin closed when the reader shall begin: the queue is full, or nothing more comes
int send_all(const Queue& queue, Fd begin, bool with_end) {
  auto send = [&](Type type, std::string_view text) {
    if (queue.send(type, text, IPC_NOWAIT)) return;
    begin.reset();
#ifdef MUTANT_DROPS_WHEN_FULL
    static_cast<void>(queue.send(type, text, type == kEnd ? 0 : IPC_NOWAIT));
#else
    static_cast<void>(queue.send(type, text, 0));
#endif
  };
  for (std::string line; std::getline(std::cin, line);) send(line.starts_with('!') ? kUrgent : kOrdinary, line);
  if (with_end) send(kEnd, "");
  return 0;
}

/// Print what comes until the end is said.
int print_all(const Queue& queue, const Fd& begin) {
  char byte = 0;
  check("read", uninterrupted([&] { return read(begin.get(), &byte, 1); }));
  while (true) {
    std::size_t size = 0;
    const Message message = queue.receive(size);
    if (message.type == kEnd) return 0;
    if (!write_all(STDOUT_FILENO, std::string(message.text.data(), size) + "\n")) check("write", -1);
  }
}

/// Children who end with their parent, and are ended by it at the latest.
class Children {
 public:
  Children() = default;
  ~Children() {
    for (const pid_t child : running_) kill(child, SIGKILL);
    for (const pid_t child : running_) waitpid(child, nullptr, 0);
  }
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;
  Children(Children&&) = delete;
  Children& operator=(Children&&) = delete;

  void start(const std::function<int()>& body) {
    running_.insert(fork_child([&, parent = getpid()] {
      end_with_parent(parent);
      return body();
    }));
  }

  [[nodiscard]] bool empty() const { return running_.empty(); }

  void reap() {
    while (const auto ended = reap_one()) {
      running_.erase(ended->pid);
      if (ended->status != 0) throw std::runtime_error("process " + std::to_string(ended->pid) + " has failed");
    }
  }

 private:
  std::set<pid_t> running_;
};

void relay(int argc, char** argv) {
  std::string stays;
  parse(argc, argv, "lines of standard input through a System V message queue, urgent ones first",
        {{"--stay", "", "print no lines but keep the messages, until SIGTERM", &stays}});
  const bool is_read = stays.empty();
  const SignalPipe signals{SIGTERM, SIGINT, SIGCHLD};
  const Queue queue;
  Children children;
  std::array<Fd, 2> ends = socket_pair();
  Fd& begin = ends[0];
  Fd& tell = ends[1];
  if (is_read)
    children.start([&] {
      tell.reset();
      return print_all(queue, begin);
    });
  children.start([&] { return send_all(queue, std::move(tell), is_read); });
  tell.reset();

  bool announced = is_read;
  while (!children.empty() || !is_read) {
    pollfd watched{signals.fd(), POLLIN, 0};
    check("poll", uninterrupted([&] { return poll(&watched, 1, -1); }));
    const std::set<int> came = signals.take();
    if (came.contains(SIGTERM) || came.contains(SIGINT)) return;
    children.reap();
    if (children.empty() && !announced) {
      write_all(STDOUT_FILENO, "queue " + std::to_string(queue.id()) + "\n");
      announced = true;
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { relay(argc, argv); });
}
