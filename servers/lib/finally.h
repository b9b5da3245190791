/// What has to be done at the end of a scope, however it is left.
#pragma once

#include <utility>

/// Calls what it was given when it goes. What the call needs is to be declared before it. A call that throws ends the
/// program: what others wait for has not been done, and they would wait for ever.
template <typename Call>
class Finally {
 public:
  explicit Finally(Call call) : call_(std::move(call)) {}
  ~Finally() { call_(); }  // NOLINT(bugprone-exception-escape): see above
  Finally(const Finally&) = delete;
  Finally& operator=(const Finally&) = delete;
  Finally(Finally&&) = delete;
  Finally& operator=(Finally&&) = delete;

 private:
  Call call_;
};
