/// What the processes of a balancer know in common.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "balancer/config.h"
#include "lib/check.h"

/// An array in memory that a process shares with the children that it forks, all zero at first.
template <typename T>
class SharedArray {
 public:
  explicit SharedArray(std::size_t size) : size_(size) {
    void* memory = mmap(nullptr, bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) check("mmap", -1);
    elements_ = static_cast<T*>(memory);
    std::uninitialized_value_construct_n(elements_, size);
  }
  ~SharedArray() { munmap(elements_, bytes()); }
  SharedArray(const SharedArray&) = delete;
  SharedArray& operator=(const SharedArray&) = delete;
  SharedArray(SharedArray&&) = delete;
  SharedArray& operator=(SharedArray&&) = delete;

  T& operator[](std::size_t i) const { return elements_[i]; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  [[nodiscard]] std::size_t bytes() const { return size_ * sizeof(T); }

  std::size_t size_;
  T* elements_ = nullptr;
};

/// Counters since the balancer began, whatever configuration it had.
struct Totals {
  std::atomic<std::uint64_t> accepted;
  std::atomic<std::uint64_t> refused;  ///< clients for whom no backend was found
  std::atomic<std::uint64_t> retried;  ///< backends that failed before a byte was relayed
  std::atomic<std::uint64_t> broken;   ///< connections that ended with a reset
  std::atomic<std::uint64_t> idle;     ///< connections that were closed because nothing moved
  std::atomic<std::uint64_t> bytes_up;
  std::atomic<std::uint64_t> bytes_down;
};

/// Which backends live, and how many connections each has; one for each configuration.
///
/// Every worker writes a row of its own, so that the connections of one that dies can be forgotten. All is atomic and
/// nothing is locked: two workers may choose at the same time and see the same numbers, which costs a little balance.
class Scoreboard {
 public:
  Scoreboard(const BalancerConfig& config, std::size_t workers)
      : backends_(config.backends.size()), active_(workers * config.backends.size()), turn_(1), workers_(workers) {
    for (const Address& address : config.backends) names_.push_back(address.text());
  }

  /// Return the backend with the fewest connections, those of equals that is next in turn; nothing if all were tried.
  ///
  /// While none lives, those are given that count as dead: to ask in vain costs little, and the check may be late.
  [[nodiscard]] std::optional<std::size_t> least_loaded(const std::vector<bool>& tried) const;

  /// Say that a backend lives or does not; what changes is logged.
  void mark(std::size_t backend, bool lives, const std::string& why) const;

  void begin(std::size_t worker, std::size_t backend) const {
    ++active_[(worker * size()) + backend];
    ++backends_[backend].connections;
  }
  void end(std::size_t worker, std::size_t backend) const { --active_[(worker * size()) + backend]; }

  /// Forget the connections of a worker that is no more.
  void forget(std::size_t worker) const {
    for (std::size_t backend = 0; backend < size(); ++backend) active_[(worker * size()) + backend] = 0;
  }

  /// Return all counters as one JSON object.
  [[nodiscard]] std::string json(const Totals& totals) const;

 private:
  struct Backend {
    std::atomic<bool> dead;
    std::atomic<std::uint64_t> connections;
    std::atomic<std::uint64_t> failures;
  };

  [[nodiscard]] std::size_t size() const { return backends_.size(); }
  [[nodiscard]] int load(std::size_t backend) const;

  SharedArray<Backend> backends_;
  SharedArray<std::atomic<int>> active_;
  SharedArray<std::atomic<std::size_t>> turn_;
  std::size_t workers_;
  std::vector<std::string> names_;
};
