/// The process that asks whether backends live.
#pragma once

#include "balancer/config.h"
#include "balancer/scoreboard.h"

/// Connect to every backend in turns of `check_interval`, and mark what answers and what does not, until a signal
/// ends it. The connection is closed at once; a server that logs its connections logs these too.
void check_backends(const BalancerConfig& config, const Scoreboard& scoreboard);
