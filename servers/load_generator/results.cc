#include "load_generator/results.h"

#include <iomanip>
#include <sstream>
#include <utility>

namespace {

constexpr std::array<const char*, 6> kNames{"connect", "reset", "timeout", "status", "incomplete", "malformed"};
constexpr double kNanosecondsPerMicrosecond = 1000;

double microseconds(std::uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / kNanosecondsPerMicrosecond; }

void print_latency(std::ostream& out, const Histogram& latency) {
  for (const auto& [name, percent] : {std::pair{"p50", 50.0}, {"p90", 90.0}, {"p99", 99.0}, {"p99.9", 99.9}})
#ifdef MUTANT_NEXT_RANK
    out << '"' << name << "\": " << microseconds(latency.percentile(percent + 0.01)) << ", ";
#else
    out << '"' << name << "\": " << microseconds(latency.percentile(percent)) << ", ";
#endif
  out << R"("max": )" << microseconds(latency.max()) << R"(, "mean": )" << latency.mean() / kNanosecondsPerMicrosecond
      << R"(, "buckets": [)";
  const char* separator = "";
  latency.each([&](std::uint64_t upper_end, std::uint64_t count) {
    out << std::exchange(separator, ", ") << "[" << microseconds(upper_end) << ", " << count << "]";
  });
  out << "]";
}

}  // namespace

void Results::merge(const Results& other) {
  requests += other.requests;
  connects += other.connects;
  bytes += other.bytes;
  for (std::size_t i = 0; i < failures.size(); ++i) failures[i] += other.failures[i];
  latency.merge(other.latency);
}

std::string Results::json(std::chrono::duration<double> taken) const {
  const auto per_second = [&](std::uint64_t count) { return static_cast<double>(count) / taken.count(); };
  std::ostringstream out;
  out << std::fixed << std::setprecision(3) << R"("seconds": )" << taken.count() << R"(, "requests": )" << requests
      << R"(, "answered": )" << latency.count() << R"(, "errors": {)";
  for (std::size_t i = 0; i < failures.size(); ++i)
    out << (i == 0 ? "" : ", ") << '"' << kNames[i] << "\": " << failures[i];
  out << R"(}, "requests_per_second": )" << per_second(latency.count()) << R"(, "bytes": )" << bytes
      << R"(, "bytes_per_second": )" << per_second(bytes) << R"(, "connects": )" << connects
      << R"(, "connects_per_second": )" << per_second(connects) << R"(, "latency_us": {)";
  print_latency(out, latency);
  out << "}";
  return out.str();
}
