/// Conversations with many clients at once: one thread over epoll(7), level-triggered.
#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "lib/fd.h"
#include "lib/signal_pipe.h"

/// What is said to one client and heard from it; the loop owns the socket and says when something can be done.
class Conversation {
 public:
  enum class Next {
    kGoOn,     ///< wait for `events()`
    kSaidAll,  ///< all has been written: end it without losing any of it
    kOver,     ///< close it at once
  };

  Conversation() = default;
  virtual ~Conversation() = default;
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;
  Conversation(Conversation&&) = delete;
  Conversation& operator=(Conversation&&) = delete;

  /// What to wait for: EPOLLOUT as long as there is something to be written, else EPOLLIN.
  [[nodiscard]] virtual std::uint32_t events() const = 0;

  /// Do what can be done now. The socket is non-blocking, and may not be ready after all.
  ///
  /// A std::system_error is logged, and the conversation is over.
  virtual Next proceed(int socket) = 0;
};

/// A conversation that consists of one text.
class Speech final : public Conversation {
 public:
  explicit Speech(std::string text) : text_(std::move(text)) {}

  [[nodiscard]] std::uint32_t events() const override { return EPOLLOUT; }
  Next proceed(int socket) override;

 private:
  std::string text_;
  std::size_t said_ = 0;
};

/// Make what a conversation needs, before its client is accepted; null if the limit of descriptors is reached.
using MakeConversation = std::function<std::unique_ptr<Conversation>()>;

/// Hold a conversation with everyone who connects, until SIGTERM or SIGINT.
///
/// Then nobody is accepted any more; what is being written is written to its end, unless it stands still for two
/// seconds or a second signal comes. At the limit of descriptors, clients wait in the backlog.
///
/// A conversation that has said all is ended by FIN, and closed when the client has ended it too: closing a socket in
/// which something lies unread sends a reset, which can overtake and destroy what has not arrived yet.
///
/// @param signals of SIGTERM and SIGINT, made before the socket listens, so that no signal meets the default action
/// @param listener non-blocking
/// @param patience how long nothing may happen in a conversation before it is closed
void converse(const SignalPipe& signals, Fd listener, std::chrono::milliseconds patience, const MakeConversation& make);
