#include "balancer/scoreboard.h"

#include <sstream>

#include "lib/server.h"

std::optional<std::size_t> Scoreboard::least_loaded(const std::vector<bool>& tried) const {
#ifdef MUTANT_FIRST_ONLY
  const std::size_t first = 0;
#else
  const std::size_t first = turn_[0]++ % size();
#endif
  for (const bool dead : {false, true}) {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < size(); ++i) {
      const std::size_t backend = (first + i) % size();
      if (tried[backend] || backends_[backend].dead != dead) continue;
#ifdef MUTANT_FIRST_ONLY
      if (!best) best = backend;
#else
      if (!best || load(backend) < load(*best)) best = backend;
#endif
    }
    if (best) return best;
  }
  return std::nullopt;
}

void Scoreboard::mark(std::size_t backend, bool lives, const std::string& why) const {
#ifdef MUTANT_HEALTH_NEVER_BACK
  if (lives) return;
#endif
  if (!lives) ++backends_[backend].failures;
  if (backends_[backend].dead.exchange(!lives) == lives)
    log_line("balancer: " + names_[backend] + (lives ? " is back" : " is down: " + why));
}

int Scoreboard::load(std::size_t backend) const {
  int sum = 0;
  for (std::size_t worker = 0; worker < workers_; ++worker) sum += active_[(worker * size()) + backend];
  return sum;
}

std::string Scoreboard::json(const Totals& totals) const {
  int active = 0;
  std::ostringstream backends;
  for (std::size_t i = 0; i < size(); ++i) {
    const Backend& one = backends_[i];
    active += load(i);
    backends << (i == 0 ? "" : ", ") << R"({"address": ")" << names_[i] << R"(", "lives": )"
             << (one.dead ? "false" : "true") << R"(, "active": )" << load(i) << R"(, "connections": )"
             << one.connections << R"(, "failures": )" << one.failures << "}";
  }
  std::ostringstream all;
  all << R"({"accepted": )" << totals.accepted << R"(, "active": )" << active << R"(, "refused": )" << totals.refused
      << R"(, "retried": )" << totals.retried << R"(, "broken": )" << totals.broken << R"(, "idle": )" << totals.idle
      << R"(, "bytes_up": )" << totals.bytes_up << R"(, "bytes_down": )" << totals.bytes_down << R"(, "backends": [)"
      << backends.str() << "]}";
  return all.str();
}
