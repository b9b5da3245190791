/// epoll(7) with an owner.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <span>

#include "lib/check.h"
#include "lib/fd.h"

/// An epoll instance. Descriptors are borrowed; closing one takes it out, unless a copy of it is open elsewhere.
class Epoll {
 public:
  Epoll() : epoll_(check("epoll_create1", epoll_create1(EPOLL_CLOEXEC))) {}

  /// Watch `fd`; `events` come back with `data.fd` set to it.
  void add(int fd, std::uint32_t events) { control(EPOLL_CTL_ADD, fd, events); }
  void modify(int fd, std::uint32_t events) { control(EPOLL_CTL_MOD, fd, events); }
  void remove(int fd) { control(EPOLL_CTL_DEL, fd, 0); }

  /// For threads that wait on it together, each with an array of its own: `wait` is for one thread only.
  [[nodiscard]] int fd() const { return epoll_.get(); }

  /// Return what has happened, valid until the next call; empty after `timeout`, negative to wait for ever.
  std::span<const epoll_event> wait(std::chrono::milliseconds timeout = std::chrono::milliseconds{-1}) {
    const int count = uninterrupted([&] {
      return epoll_wait(epoll_.get(), events_.data(), static_cast<int>(events_.size()),
                        static_cast<int>(timeout.count()));
    });
    return {events_.data(), static_cast<std::size_t>(check("epoll_wait", count))};
  }

 private:
  void control(int operation, int fd, std::uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    check("epoll_ctl", epoll_ctl(epoll_.get(), operation, fd, &event));
  }

  Fd epoll_;
  std::array<epoll_event, 256> events_{};
};
