#include "balancer/config.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

namespace {

constexpr std::size_t kMostShown = 60;  // characters of a wrong word

std::string quoted(std::string_view word) {
  return '"' + std::string(word.substr(0, kMostShown)) + (word.size() > kMostShown ? "...\"" : "\"");
}

std::vector<std::string_view> words_of(std::string_view line) {
  constexpr std::string_view kBlanks = " \t\r";
  line = line.substr(0, line.find('#'));
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  while ((begin = line.find_first_not_of(kBlanks, begin)) != std::string_view::npos) {
    const std::size_t end = std::min(line.find_first_of(kBlanks, begin), line.size());
    words.push_back(line.substr(begin, end - begin));
    begin = end;
  }
  return words;
}

template <typename T>
T number(std::string_view word, T least, T most, const std::string& what) {
  T value{};
  const auto [stopped, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc{} || stopped != word.data() + word.size() || !(value >= least && value <= most))
    throw ConfigError(quoted(word) + " is no " + what);
  return value;
}

std::chrono::milliseconds seconds(std::string_view word) {
  const auto value = number<double>(word, 0.001, 86'400, "number of seconds from 0.001 to 86400");
  return std::chrono::round<std::chrono::milliseconds>(std::chrono::duration<double>(value));
}

std::size_t connections(std::string_view word) {
  return number<std::size_t>(word, 1, 1'000'000, "whole number from 1 to 1000000");
}

bool switched_on(std::string_view word) {
  if (word != "on" && word != "off") throw ConfigError(quoted(word) + " is neither on nor off");
  return word == "on";
}

Address backend(std::string_view word) {
  const std::size_t colon = word.rfind(':');
  if (colon == std::string_view::npos) throw ConfigError(quoted(word) + " has no port; it looks like 10.0.2.11:80");
  std::string_view host = word.substr(0, colon);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  const int port = number(word.substr(colon + 1), 1, 65'535, "port from 1 to 65535");
  try {
    const Address found(std::string(host), port);
    if ((found.family() == AF_INET6) == bracketed) return found;
  } catch (const std::invalid_argument&) {  // said below, as for an IPv6 address without brackets
  }
  throw ConfigError(quoted(word) + " is no numeric address and port, like 10.0.2.11:80 or [fd00::2]:80");
}

/// Reads lines into a configuration, and knows which settings there were.
class Reader {
 public:
  void read(std::string_view line) {
    const auto words = words_of(line);
    if (words.empty()) return;
    const auto taker = takers_.find(words[0]);
    if (taker == takers_.end()) throw ConfigError("unknown setting " + quoted(words[0]) + "; " + known());
    if (words.size() != 2) throw ConfigError(std::string(words[0]) + " takes one value");
    // Backends are many, but none of them twice; of everything else there is one.
    const std::string key = words[0] == "backend" ? backend(words[1]).text() : std::string(words[0]);
    if (!seen_.insert(key).second) throw ConfigError(key + " is there already");
    (this->*taker->second)(words[1]);
  }

  BalancerConfig take() {
    if (config_.backends.empty()) throw ConfigError("there is no backend");
    return std::move(config_);
  }

 private:
  using Taker = void (Reader::*)(std::string_view);

  [[nodiscard]] std::string known() const {
    std::string names;
    for (const auto& [name, taker] : takers_) names += (names.empty() ? "there are " : ", ") + std::string(name);
    return names;
  }

  void take_backend(std::string_view word) { config_.backends.push_back(backend(word)); }
  void take_connections(std::string_view word) { config_.connections = connections(word); }
  void take_connect_timeout(std::string_view word) { config_.connect_timeout = seconds(word); }
  void take_check_interval(std::string_view word) { config_.check_interval = seconds(word); }
  void take_drain_timeout(std::string_view word) { config_.drain_timeout = seconds(word); }
  void take_access_log(std::string_view word) { config_.access_log = switched_on(word); }

  BalancerConfig config_;
  std::set<std::string> seen_;
  std::map<std::string_view, Taker> takers_{
      {"access-log", &Reader::take_access_log},         {"backend", &Reader::take_backend},
      {"check-interval", &Reader::take_check_interval}, {"connect-timeout", &Reader::take_connect_timeout},
      {"connections", &Reader::take_connections},       {"drain-timeout", &Reader::take_drain_timeout},
  };
};

}  // namespace

BalancerConfig parse_config(std::string_view text) {
  Reader reader;
  std::size_t line = 0;
  try {
    while (!text.empty()) {
      ++line;
      const std::size_t end = text.find('\n');
      reader.read(text.substr(0, end));
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
  } catch (const ConfigError& error) {
    throw ConfigError("line " + std::to_string(line) + ": " + error.what());
  }
  return reader.take();
}
