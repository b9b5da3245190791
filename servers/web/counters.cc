#include "web/counters.h"

#include <array>
#include <utility>

namespace web {

std::string as_json(const std::vector<Counters>& workers) {
  using Member = Counters::Counter Counters::*;
  constexpr std::array<std::pair<const char*, Member>, 10> kMembers{{
      {"accepted", &Counters::accepted},
      {"open", &Counters::open},
      {"requests", &Counters::requests},
      {"answered_2xx_3xx", &Counters::informed},
      {"answered_4xx", &Counters::refused},
      {"answered_5xx", &Counters::failed},
      {"timeouts", &Counters::timeouts},
      {"broken", &Counters::broken},
      {"bytes_sent", &Counters::sent},
      {"unlogged", &Counters::unlogged},
  }};
  std::string text;
  for (const auto& [name, member] : kMembers) {
    std::uint64_t sum = 0;
    for (const Counters& worker : workers) sum += (worker.*member).load(std::memory_order_relaxed);
    text += (text.empty() ? "{\"" : ", \"") + std::string(name) + "\": " + std::to_string(sum);
  }
  return text + "}";
}

}  // namespace web
