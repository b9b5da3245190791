// Measures the three ways to keep timers against each other. Book 11.4.
//
// Fills a set with timers, then times some more that are added, those that are cancelled, and how all expire; prints
// JSON: nanoseconds per timer, and what must hold of any set: none is early, none is lost.
//
// Limits: one thread, and a clock of its own that jumps from tick to tick, so the machine's load matters little.
#include <algorithm>
#include <iostream>
#include <memory>
#include <random>
#include <vector>

#include "lib/options.h"
#include "lib/server.h"
#include "lib/timers/heap.h"
#include "lib/timers/list.h"
#include "lib/timers/wheel.h"

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSpan{60'000};  // within which all timers are due
constexpr milliseconds kTick{10};

std::unique_ptr<Timers> make(const std::string& kind) {
  if (kind == "list") return std::make_unique<TimerList>();
  if (kind == "wheel") return std::make_unique<TimerWheel>(kTick);
#ifdef MUTANT_NO_HEAP
  if (kind == "heap") return std::make_unique<TimerList>();
#endif
  if (kind == "heap") return std::make_unique<TimerHeap>();
  throw UsageError("--kind: \"" + kind + "\" is none of list, wheel, heap");
}

/// Return nanoseconds for each of `count` timers.
template <typename Work>
double measure(std::size_t count, Work work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count() / static_cast<double>(count);
}

struct Result {
  double add = 0;
  double cancel = 0;
  double expire = 0;
  std::size_t expired = 0;
  std::size_t early = 0;
};

Result bench(Timers& timers, std::size_t count, std::size_t sample) {
  std::mt19937_64 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same for all
  std::uniform_int_distribution<milliseconds::rep> spans(1, kSpan.count());
  auto random_due = [&, start = Clock::now()] { return start + milliseconds{spans(random)}; };
  Result result;

  std::vector<Timer> crowd(count);
  std::vector<Clock::time_point> dues(count);
  std::generate(dues.begin(), dues.end(), random_due);
  std::sort(dues.begin(), dues.end());  // in the order in which even the list takes them quickly
  for (std::size_t i = 0; i < count; ++i) timers.add(crowd[i], dues[i]);

  std::vector<Timer> more(sample);
  dues.resize(sample);
  std::generate(dues.begin(), dues.end(), random_due);
  result.add = measure(sample, [&] {
    for (std::size_t i = 0; i < sample; ++i) timers.add(more[i], dues[i]);
  });
  const std::size_t half = sample / 2;  // the others expire among the crowd
  result.cancel = measure(std::max<std::size_t>(half, 1), [&] {
    for (std::size_t i = 0; i < half; ++i) timers.cancel(more[i]);
  });

  const auto end = Clock::now() + kSpan + 2 * kTick;
  result.expire = measure(count, [&] {
    for (auto now = Clock::now(); now <= end; now += kTick) {
      while (const Timer* timer = timers.pop_due(now)) {
        ++result.expired;
        if (timer->due > now) ++result.early;
      }
    }
  });
  return result;
}

void print(const std::string& kind, std::size_t count, const Result& result) {
  std::cout << R"({"kind": ")" << kind << R"(", "timers": )" << count << R"(, "add_ns": )" << result.add
            << R"(, "cancel_ns": )" << result.cancel << R"(, "expire_ns": )" << result.expire << R"(, "expired": )"
            << result.expired << R"(, "early": )" << result.early << "}" << std::endl;
}

void bench_as_told(int argc, char** argv) {
  std::string kind = "heap";
  std::string timers = "100000";
  std::string sample = "1000";
  parse(argc, argv, "measures a way to keep timers",
        {{"--kind", "KIND", "list, wheel or heap (default: " + kind + ")", &kind},
         {"--timers", "N", "how many there are (default: " + timers + ")", &timers},
         {"--sample", "N", "how many are added to them, and half of these cancelled (default: " + sample + ")",
          &sample}});
  const auto count = static_cast<std::size_t>(number("--timers", timers, 1, 10'000'000));
  const auto added = static_cast<std::size_t>(number("--sample", sample, 1, 1'000'000));
  const std::unique_ptr<Timers> set = make(kind);
  print(kind, count, bench(*set, count, added));
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { bench_as_told(argc, argv); });
}
