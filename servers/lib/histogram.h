/// A histogram of values of any size with a bounded relative error, as HdrHistogram has it.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

/// Counts values in buckets that are log-linear: each power of two is parted into kParts equal ones.
///
/// A bucket is at most 1/kParts as wide as the values in it, so a percentile is right to 0.8 % whether it is a
/// microsecond or a minute, and memory stays the same however much is counted. Values below kParts are exact.
/// Not thread-safe: each thread counts for itself, and `merge` adds up.
class Histogram {
 public:
  void record(std::uint64_t value) {
    const std::size_t bucket = bucket_of(value);
    if (bucket >= counts_.size()) counts_.resize(bucket + 1);
    ++counts_[bucket];
    ++count_;
    sum_ += value;
    max_ = std::max(max_, value);
  }

  void merge(const Histogram& other) {
    if (other.counts_.size() > counts_.size()) counts_.resize(other.counts_.size());
    for (std::size_t i = 0; i < other.counts_.size(); ++i) counts_[i] += other.counts_[i];
    count_ += other.count_;
    sum_ += other.sum_;
    max_ = std::max(max_, other.max_);
  }

  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] std::uint64_t max() const { return max_; }
  [[nodiscard]] double mean() const {
    return count_ == 0 ? 0 : static_cast<double>(sum_) / static_cast<double>(count_);
  }

  /// Return the value that `percent` of all do not exceed: the upper end of its bucket, or the greatest value if
  /// that is less; 0 if nothing was counted.
  [[nodiscard]] std::uint64_t percentile(double percent) const {
    // In whole numbers, thousandths of a percent: 99.9 / 100 * 1000 is a little more than 999 to a double.
    const auto part = static_cast<std::uint64_t>(std::llround(percent * 1000));
    const std::uint64_t rank = (count_ * part + 99'999) / 100'000;
    std::uint64_t seen = 0;
    for (std::size_t i = 0; i < counts_.size(); ++i)
      if ((seen += counts_[i]) >= std::max<std::uint64_t>(rank, 1)) return std::min(upper_end(i), max_);
    return max_;
  }

  /// Call `visit(upper_end, count)` for each bucket that is not empty, from the least to the greatest.
  template <typename Visit>
  void each(Visit visit) const {
    for (std::size_t i = 0; i < counts_.size(); ++i)
      if (counts_[i] != 0) visit(upper_end(i), counts_[i]);
  }

 private:
  static constexpr int kBits = 7;
  static constexpr std::uint64_t kParts = std::uint64_t{1} << kBits;

  // A value's highest kBits + 1 bits choose its bucket: how far they are shifted is the row, the rest the column.
  static std::size_t bucket_of(std::uint64_t value) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(value)) - kBits - 1);
    return (static_cast<std::uint64_t>(shift) << kBits) + (value >> shift);
  }

  static std::uint64_t upper_end(std::size_t bucket) {
    if (bucket < 2 * kParts) return bucket;
    const std::uint64_t shift = (bucket >> kBits) - 1;
    return ((bucket - (shift << kBits) + 1) << shift) - 1;
  }

  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};
