/// The balancer's configuration file.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "lib/address.h"

/// What stands behind the balancer, and its limits.
struct BalancerConfig {
  std::vector<Address> backends;
  std::size_t connections = 10'000;                 ///< clients served at once, if there are
                                                    ///< descriptors; more wait in the kernel's queue
  std::chrono::milliseconds connect_timeout{1000};  ///< until a backend that does not answer counts as dead
  std::chrono::milliseconds check_interval{2000};   ///< between two checks of whether backends are alive
  std::chrono::milliseconds drain_timeout{3000};    ///< how long a stop waits for the connections that there are
  bool access_log = true;                           ///< a line for each connection
};

/// A configuration that makes no sense: "line 3: ...".
struct ConfigError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Return what the text of a file says.
///
/// One setting per line, words apart by blanks, comments from # on:
///
///     backend 10.0.2.11:80        # as many as there are
///     backend [fd00::2]:80
///     connections 10000
///     connect-timeout 1           # seconds
///     check-interval 0.5
///     drain-timeout 3
///     access-log on
///
/// Throws ConfigError.
BalancerConfig parse_config(std::string_view text);
