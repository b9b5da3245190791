#include "lib/options.h"

#include <charconv>
#include <cstdlib>
#include <functional>
#include <iostream>

namespace {

struct Known {
  std::string name;
  std::string operand;
  std::string help;
  std::function<void(const std::string&)> take;
};

/// Return a host as it is; throws UsageError unless it is an address.
std::string numeric_host(const std::string& text) {
  try {
    static_cast<void>(Address(text, 0));
  } catch (const std::invalid_argument& error) {
    throw UsageError(std::string("--host: ") + error.what());
  }
  return text;
}

std::vector<Known> common_options(Options& options) {
  auto whole = [](const char* name, long least, long most, int& value) {
    return [=, &value](const std::string& text) { value = static_cast<int>(number(name, text, least, most)); };
  };
  return {
      {"--port", "N", "port, 1 to 65535", whole("--port", 1, 65535, options.port)},
      {"--host", "A", "numeric address (default: " + options.host + ")",
       [&options](const std::string& text) { options.host = numeric_host(text); }},
      {"--root", "DIR", "folder of files (default: " + options.root + ")",
       [&options](const std::string& text) { options.root = text; }},
      {"--workers", "N", "threads or processes, where there are any (default: " + std::to_string(options.workers) + ")",
       whole("--workers", 1, 1024, options.workers)},
      {"--backlog", "N", "of listen(2) (default: " + std::to_string(options.backlog) + ")",
       whole("--backlog", 0, 65535, options.backlog)},
      {"--idle-timeout", "S", "seconds until a silent connection is closed, where one is (default: 60)",
       [&options](const std::string& text) { options.idle_timeout = seconds("--idle-timeout", text); }},
  };
}

void print_help(const char* program, const std::string& summary, const std::vector<Known>& known) {
  std::cout << program << ": " << summary << "\n\n";
  for (const Known& option : known) {
    std::string left = "  " + option.name + (option.operand.empty() ? "" : " " + option.operand);
    left.resize(std::max(left.size() + 2, std::size_t{24}), ' ');
    std::cout << left << option.help << "\n";
  }
  std::cout << "  --help                this text\n";
}

void parse_known(int argc, char** argv, const std::string& summary, std::vector<Known> known,
                 const std::vector<Extra>& extras) {
  for (const Extra& extra : extras)
    known.push_back(
        {extra.name, extra.operand, extra.help, [value = extra.value](const std::string& text) { *value = text; }});
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--help") {
      print_help(argv[0], summary, known);
      std::cout.flush();
      std::exit(0);  // NOLINT(concurrency-mt-unsafe): no thread runs yet
    }
    const Known* found = nullptr;
    for (const Known& option : known)
      if (word == option.name) found = &option;
    if (found == nullptr) throw UsageError("unknown option \"" + word + "\"; --help shows those that there are");
    if (found->operand.empty()) {
      found->take("yes");
    } else if (++i == argc) {
      throw UsageError(word + " needs a value: " + found->operand);
    } else {
      found->take(argv[i]);
    }
  }
}

}  // namespace

void parse(int argc, char** argv, const std::string& summary, Options& options, const std::vector<Extra>& extras) {
  parse_known(argc, argv, summary, common_options(options), extras);
  if (options.port == 0) throw UsageError("--port N is missing");
}

void parse(int argc, char** argv, const std::string& summary, const std::vector<Extra>& extras) {
  parse_known(argc, argv, summary, {}, extras);
}

long number(const std::string& name, const std::string& text, long least, long most) {
  long value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stopped != end || value < least || value > most)
    throw UsageError(name + ": \"" + text + "\" is no whole number from " + std::to_string(least) + " to " +
                     std::to_string(most));
  return value;
}

std::chrono::milliseconds seconds(const std::string& name, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= 0.001 && value <= 86'400))
    throw UsageError(name + ": \"" + text + "\" is no number of seconds from 0.001 to 86400");
  return std::chrono::milliseconds(static_cast<long>(value * 1000));
}
