// One thread as the team that computes a list (device/lists/list_team.h).
#pragma once

#include <cstdint>

namespace toller {

/// A team of one.
struct CpuTeam {
  static std::int64_t thread() { return 0; }
  static std::int64_t threads() { return 1; }
  static void sync() {}
  static double sum(double x) { return x; }
  static double max(double x) { return x; }
};

}  // namespace toller
