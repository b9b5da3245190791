// A web server for files: HTTP/1.1 over epoll, a thread per worker, sendfile. Book 15.6.
//
// Each worker has an event loop and connections of its own (web/worker.h); they share the listening socket, and the
// kernel wakes one of them for a new connection. A connection is a state machine (web/connection.h) that has buffers
// only while a request is under way, so that idle ones cost next to nothing. The main thread waits for signals: SIGTERM
// and SIGINT let the workers finish what they are at, SIGUSR1 prints what they have done, as a line of JSON on stderr.
//
// What is served and how is in http/, free of sockets: parser, paths, ranges, conditions, dates.
//
// Limits: files only, for GET and HEAD; one range at a time; no TLS and no compression.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <latch>
#include <list>
#include <thread>

#include "lib/descriptors.h"
#include "lib/finally.h"
#include "lib/options.h"
#include "lib/server.h"
#include "lib/signal_pipe.h"
#include "web/worker.h"

namespace {

struct Arguments {
  Options options;
  web::Settings settings;
  std::string access_log;
};

Arguments arguments(int argc, char** argv) {
  Arguments found;
  std::string head = "16384";
  std::string body = "1048576";
  std::string connections = "16384";
  std::string request = "10";
  std::string drain = "10";
  parse(argc, argv, "web server for files over epoll(7), one thread per worker", found.options,
        {{"--head-limit", "BYTES", "of a request line and its fields (default: 16384)", &head},
         {"--body-limit", "BYTES", "of a request's body (default: 1048576)", &body},
         {"--connections", "N", "at a time; more wait to be accepted (default: 16384)", &connections},
         {"--request-timeout", "S", "seconds for a request to come in (default: 10)", &request},
         {"--drain-timeout", "S", "seconds for answers under way at the end (default: 10)", &drain},
         {"--access-log", "FILE", "a line per request, in the common log format (default: none)", &found.access_log}});
  web::Settings& settings = found.settings;
  settings.limits.head = static_cast<std::size_t>(number("--head-limit", head, 2'048, 1'048'576));
  settings.limits.request_line = std::min(settings.limits.request_line, settings.limits.head);
  settings.limits.body = static_cast<std::uint64_t>(number("--body-limit", body, 0, 1'000'000'000'000));
  const auto workers = static_cast<std::size_t>(found.options.workers);
  const auto most = static_cast<std::size_t>(number("--connections", connections, 1, 1'000'000));
  settings.connections = (most + workers - 1) / workers;
  settings.idle_timeout = found.options.idle_timeout;
  settings.request_timeout = seconds("--request-timeout", request);
  settings.drain_timeout = seconds("--drain-timeout", drain);
  return found;
}

/// Handle signals until one says that it is time to stop.
void wait_for_stop(const SignalPipe& signals, const std::vector<web::Counters>& counters) {
  while (true) {
    pollfd watched{signals.fd(), POLLIN, 0};
    check("poll", uninterrupted([&] { return poll(&watched, 1, -1); }));
    const auto came = signals.take();
    if (came.contains(SIGUSR1)) log_line(web::as_json(counters));
    if (came.contains(SIGTERM) || came.contains(SIGINT)) return;
  }
}

void serve(int argc, char** argv) {
  const auto [options, settings, access_log] = arguments(argc, argv);
  raise_descriptor_limit();  // a connection may have a file open beside its socket
#ifdef MUTANT_DIES_OF_SIGPIPE
  std::signal(SIGPIPE, SIG_DFL);
#endif
  const http::Root root(options.root);
  Fd log;
  if (!access_log.empty())
    log.reset(check(("open " + access_log).c_str(),
                    open(access_log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)));
  const SignalPipe signals{SIGTERM, SIGINT, SIGUSR1};
  Fd listener = listen_on(options.address(), options.backlog, SOCK_NONBLOCK);
#ifndef MUTANT_NAGLE
  // Connections inherit it. Answers go out in full segments as it is; the last one must not wait for an ACK.
  set_option(listener.get(), IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY");
#endif
  const Fd stop(check("eventfd", eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)));

  const web::Shared shared{settings, root, listener.get(), stop.get(), log.get()};
  std::vector<web::Counters> counters(static_cast<std::size_t>(options.workers));
  std::list<web::Worker> workers;
  for (web::Counters& own : counters) workers.emplace_back(shared, own);
  std::latch accepting(options.workers);
  std::vector<std::jthread> threads;
#ifndef MUTANT_NOBODY_SAYS_STOP
  // They are joined however this ends: when there are no more threads to be had, too.
  const Finally tell_all([&] { eventfd_write(stop.get(), 1); });
#endif
  for (web::Worker& worker : workers) threads.emplace_back([&] { worker.run([&] { accepting.count_down(); }); });
  announce_ready();

  wait_for_stop(signals, counters);
  check("eventfd_write", eventfd_write(stop.get(), 1));
  accepting.wait();  // whoever connects from now on is refused, and not left waiting for nobody
  listener.reset();
  threads.clear();  // joins them
}

}  // namespace

int main(int argc, char** argv) {
  return run(argv, [&] { serve(argc, argv); });
}
