/// Memory that a process shares with the children it forks.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <system_error>
#include <type_traits>

/// One T in memory that stays one and the same through fork(2).
///
/// T may have atomics that are lock-free, and process-shared mutexes; pointers only to where every process has the
/// same. The memory goes with the last process that has it: there is no name to leave behind.
template <typename T>
class Shared {
  static_assert(std::is_trivially_destructible_v<T>, "nobody knows which process would be the last to destroy it");

 public:
  /// @param fd of a shared memory object of sizeof(T) bytes; without it the memory is anonymous
  explicit Shared(int fd = -1) {
    void* memory =
        mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, fd < 0 ? MAP_SHARED | MAP_ANONYMOUS : MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) throw std::system_error(errno, std::generic_category(), "mmap");
    value_ = new (memory) T{};
  }
  ~Shared() { munmap(value_, sizeof(T)); }
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  Shared(Shared&&) = delete;
  Shared& operator=(Shared&&) = delete;

  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  T* value_;
};
