// Learning rate by step: linear warm-up, then linear or cosine decay to 0, or constant.
#pragma once

#include <cstdint>
#include <string>

namespace toller {

enum class Decay { kConstant, kLinear, kCosine };
Decay decay_from_name(const std::string& name);  ///< constant, linear, cosine; UsageError otherwise

struct Schedule {
  double peak = 1e-3;
  Decay decay = Decay::kLinear;
  std::int64_t warmup_steps = 0;
  std::int64_t total_steps = 1;

  /// Rate of step 1 … total_steps. Step s of the warm-up has peak · s / warmup_steps; the decay would reach 0
  /// at total_steps + 1. A warm-up longer than total_steps never reaches the peak. Throws UsageError that
  /// names a negative or non-finite member, Error for any other step.
  double at(std::int64_t step) const;
};

}  // namespace toller
