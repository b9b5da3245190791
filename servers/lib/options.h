/// The command line that all programs share.
#pragma once

#include <chrono>
#include <stdexcept>
#include <string>
#include <vector>

#include "lib/address.h"

/// What a program takes beside the common options.
struct Extra {
  std::string name;     ///< "--log-file"
  std::string operand;  ///< "FILE"; empty for a switch, whose `value` becomes "yes"
  std::string help;
  std::string* value;  ///< where it goes; what stands there is the default
};

/// The common options, with their defaults; a program takes a default of its own by setting it before `parse`.
struct Options {
  std::string host = "0.0.0.0";
  int port = 0;
  std::string root = ".";
  int workers = 1;
  int backlog = 511;
  std::chrono::milliseconds idle_timeout{60'000};

  [[nodiscard]] Address address() const { return {host, port}; }
};

/// A command line that makes no sense; `run` prints it as one line and ends with 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Read the command line into `options` and the extras.
///
/// `--help` prints and exits with 0. Throws UsageError for an unknown option, a missing or senseless value, and a
/// missing --port, which 0 cannot stand for: a server on a port that nobody knows is of no use.
///
/// @param summary what the program is, in one line
void parse(int argc, char** argv, const std::string& summary, Options& options, const std::vector<Extra>& extras = {});

/// The same for a program that has extras only: it neither listens nor connects.
void parse(int argc, char** argv, const std::string& summary, const std::vector<Extra>& extras);

/// Return a whole number from `least` to `most`; throws UsageError with `name` otherwise.
long number(const std::string& name, const std::string& text, long least, long most);

/// Return a number of seconds, "0.5" say; throws UsageError with `name` unless it is from 0.001 to 86400.
std::chrono::milliseconds seconds(const std::string& name, const std::string& text);
