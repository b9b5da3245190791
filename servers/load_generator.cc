// Load generator for HTTP servers. Book 16.4.
//
// Threads share the connections, each an event loop of its own (load_generator/load.h). In a closed loop a connection
// asks again as soon as it is answered; in an open loop (--rate) requests are due at fixed times, and latencies count
// from then. What comes of it is printed to stdout as one JSON object: requests, errors by kind, bytes, and latencies
// as percentiles and as a histogram whose buckets are [upper end, count].
//
// It ends after --duration or --requests, whichever is first, or on SIGTERM or SIGINT, and always with a result: a
// server that answers nothing is a result as well.
//
// Limits: one path, one address, GET only; a response that is late for its connection's next request is a failure.
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <charconv>
#include <csignal>
#include <iostream>
#include <limits>
#include <thread>

#include "lib/check.h"
#include "lib/descriptors.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"
#include "load_generator/load.h"

namespace {

struct Settings {
  std::string connections = "10";
  std::string rate;
  std::string duration = "10";
  std::string requests;
  std::string path = "/";
  std::string name;
  std::string close;
  std::string timeout = "5";
};

double real(const std::string& name, const std::string& text, double least, double most) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stopped != end || !(value >= least && value <= most))
    throw UsageError(name + ": \"" + text + "\" is no number from " + std::to_string(least) + " to " +
                     std::to_string(most));
  return value;
}

std::chrono::nanoseconds seconds(const std::string& name, const std::string& text) {
  return std::chrono::round<std::chrono::nanoseconds>(std::chrono::duration<double>(real(name, text, 0.001, 86'400)));
}

/// Return a word that can stand in a request as it is.
const std::string& visible(const std::string& name, const std::string& text) {
  if (text.empty() || !std::ranges::all_of(text, [](char c) { return c > ' ' && c < '\x7f'; }))
    throw UsageError(name + ": \"" + text + "\" is not made of visible characters");
  return text;
}

std::string request_for(const Settings& settings, const Address& target) {
  if (!visible("--path", settings.path).starts_with('/'))
    throw UsageError("--path: \"" + settings.path + "\" does not begin with /");
  const std::string name = settings.name.empty() ? target.text() : visible("--name", settings.name);
#ifdef MUTANT_INVALID_REQUEST
  const std::string host;
#else
  const std::string host = "Host: " + name + "\r\n";  // HTTP/1.1 demands it (RFC 9112, section 3.2)
#endif
  const std::string connection = settings.close.empty() ? "" : "Connection: close\r\n";
  return "GET " + settings.path + " HTTP/1.1\r\n" + host + "User-Agent: load_generator\r\nAccept: */*\r\n" +
         connection + "\r\n";
}

Plan plan_of(const Options& options, const Settings& settings) {
  Plan plan;
  plan.target = options.address();
  plan.request = request_for(settings, plan.target);
  plan.keep_alive = settings.close.empty();
  plan.connections = static_cast<std::size_t>(number("--connections", settings.connections, 1, 1'000'000));
  plan.threads = std::min(static_cast<std::size_t>(options.workers), plan.connections);
  if (!settings.rate.empty()) plan.rate = real("--rate", settings.rate, 0.001, 10'000'000);
  plan.duration = seconds("--duration", settings.duration);
  plan.timeout = seconds("--timeout", settings.timeout);
  return plan;
}

/// Wait until all threads have counted up `done`, and tell them to stop if a signal comes before.
void wait_for_threads(std::size_t threads, int done, const SignalPipe& signals, std::atomic<bool>& stopped) {
  while (threads > 0) {
    pollfd watched[] = {{signals.fd(), POLLIN, 0}, {done, POLLIN, 0}};
    check("poll", uninterrupted([&] { return poll(watched, std::size(watched), -1); }));
    if (!signals.take().empty()) stopped = true;
    if (watched[1].revents == 0) continue;
    eventfd_t count = 0;
    check("read eventfd", eventfd_read(done, &count));
    threads -= count;
  }
}

Results run_all(const Plan& plan, std::int64_t most) {
  const SignalPipe signals{SIGTERM, SIGINT};
  const Fd done(check("eventfd", eventfd(0, EFD_CLOEXEC)));
  Shared shared{.left = most, .stopped = false};
  const auto begin = Load::Clock::now();
  std::vector<Results> results(plan.threads);
  std::vector<std::exception_ptr> errors(plan.threads);
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < plan.threads; ++i)
    threads.emplace_back([&, i] {
      try {
        results[i] = Load(plan, shared, i, begin).run();
      } catch (...) {
        errors[i] = std::current_exception();
        shared.stopped = true;
      }
      eventfd_write(done.get(), 1);
    });
  wait_for_threads(plan.threads, done.get(), signals, shared.stopped);
  threads.clear();
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
  for (std::size_t i = 1; i < plan.threads; ++i) results[0].merge(results[i]);
  return std::move(results[0]);
}

void generate(int argc, char** argv) {
  Options options;
  options.host = "127.0.0.1";
  Settings settings;
  parse(argc, argv, "load generator for HTTP servers; prints JSON", options,
        {{"--connections", "N", "at once (default: 10)", &settings.connections},
         {"--rate", "R", "requests per second, answered or not (default: as many as are answered)", &settings.rate},
         {"--duration", "S", "seconds (default: 10)", &settings.duration},
         {"--requests", "N", "at most so many (default: no limit)", &settings.requests},
         {"--path", "PATH", "what to ask for (default: /)", &settings.path},
         {"--name", "NAME", "for the Host header (default: address and port)", &settings.name},
         {"--close", "", "a connection for each request", &settings.close},
         {"--timeout", "S", "seconds until a request has failed (default: 5)", &settings.timeout}});
  const Plan plan = plan_of(options, settings);
  constexpr auto kNoLimit = std::numeric_limits<std::int64_t>::max();
  const std::int64_t most =
      settings.requests.empty() ? kNoLimit : number("--requests", settings.requests, 1, kNoLimit / 2);

  raise_descriptor_limit();
  const auto begin = Load::Clock::now();
  const Results results = run_all(plan, most);
  std::cout << R"({"mode": ")" << (plan.rate == 0 ? "closed" : "open") << R"(", "keep_alive": )"
            << (plan.keep_alive ? "true" : "false") << R"(, "threads": )" << plan.threads << R"(, "connections": )"
            << plan.connections << ", " << results.json(Load::Clock::now() - begin) << "}\n";
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { generate(argc, argv); });
}
