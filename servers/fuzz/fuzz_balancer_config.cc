// What a balancer's configuration file may say: anything, and it is either understood or refused with its line.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <set>
#include <string>
#include <string_view>

#include "balancer/config.h"

namespace {

void demand(bool holds) {
  if (!holds) std::abort();
}

/// "line 3: ..." of a text that has so many lines; that there is no backend is no line's fault.
void check_complaint(const std::string& complaint, std::string_view text) {
  if (complaint == "there is no backend") return;
  constexpr std::string_view kLine = "line ";
  demand(complaint.starts_with(kLine));
  const auto lines = static_cast<std::size_t>(std::ranges::count(text, '\n')) + 1;
  const std::size_t line = std::stoul(complaint.substr(kLine.size()));
  demand(line >= 1 && line <= lines);
}

void check_config(const BalancerConfig& config) {
  std::set<std::string> backends;
  for (const Address& address : config.backends) {
    demand(address.port() >= 1 && address.port() <= 65'535);
    demand(backends.insert(address.text()).second);
  }
  demand(!backends.empty());
  demand(config.connections >= 1);
  for (const auto span : {config.connect_timeout, config.check_interval, config.drain_timeout})
    demand(span >= std::chrono::milliseconds{1} && span <= std::chrono::hours{24});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    check_config(parse_config(text));
  } catch (const ConfigError& error) {
    check_complaint(error.what(), text);
  }
  return 0;
}
