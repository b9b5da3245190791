/// Signals as readable bytes: the unified event source (book 10.4).
#pragma once

#include <initializer_list>
#include <set>

#include "lib/fd.h"

/// Turns signals into bytes of a pipe, to be polled beside sockets.
///
/// There is one in a process: a handler has no other way to find its pipe than a global. Handlers are installed with
/// SA_RESTART. Signals of one number that come faster than they are read may count as one, as the kernel counts them.
class SignalPipe {
 public:
  SignalPipe(std::initializer_list<int> signals);
  ~SignalPipe();
  SignalPipe(const SignalPipe&) = delete;
  SignalPipe& operator=(const SignalPipe&) = delete;
  SignalPipe(SignalPipe&&) = delete;
  SignalPipe& operator=(SignalPipe&&) = delete;

  /// The end to poll; readable when a signal has come.
  [[nodiscard]] int fd() const { return reader_.get(); }

  /// Return the numbers of the signals that have come since the last call; does not wait.
  [[nodiscard]] std::set<int> take() const;

 private:
  Fd reader_;
  Fd writer_;
  std::set<int> signals_;
};
