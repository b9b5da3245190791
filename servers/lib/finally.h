/// What has to be done at the end of a scope, however it is left.
#pragma once

#include <utility>

/// Calls what it was given when it goes. What the call needs is to be declared before it, and must not throw.
template <typename Call>
class Finally {
 public:
  explicit Finally(Call call) : call_(std::move(call)) {}
  ~Finally() { call_(); }
  Finally(const Finally&) = delete;
  Finally& operator=(const Finally&) = delete;
  Finally(Finally&&) = delete;
  Finally& operator=(Finally&&) = delete;

 private:
  Call call_;
};
