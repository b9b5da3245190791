/// What the web server was told on its command line.
#pragma once

#include <chrono>
#include <cstddef>

#include "http/request_parser.h"

namespace web {

struct Settings {
  http::Limits limits;
  std::size_t connections = 0;                      ///< that one worker has at a time; further ones wait to be accepted
  std::chrono::milliseconds idle_timeout{};         ///< between requests, and for a reader that takes nothing
  std::chrono::milliseconds request_timeout{};      ///< from a request's first byte to its last
  std::chrono::milliseconds drain_timeout{};        ///< for what is under way when the server is told to stop
  std::chrono::milliseconds linger_timeout{2'000};  ///< for a refused client to read why
};

}  // namespace web
