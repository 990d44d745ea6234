#include "optim/schedule.h"

#include <array>
#include <cmath>
#include <numbers>

#include "choice.h"
#include "error.h"

namespace toller {

Decay decay_from_name(const std::string& name) {
  constexpr std::array<std::pair<Decay, const char*>, 3> kDecays = {
      {{Decay::kConstant, "constant"}, {Decay::kLinear, "linear"}, {Decay::kCosine, "cosine"}}};
  return value_of_word("decay", name, kDecays);
}

double Schedule::at(std::int64_t step) const {
  if (!(peak >= 0 && std::isfinite(peak))) {
    fail_usage("the learning rate is {}; it must be finite and not negative", peak);
  }
  if (warmup_steps < 0) fail_usage("warmup_steps is {}; it must not be negative", warmup_steps);
  if (total_steps < 1) fail_usage("total_steps is {}; it must be at least 1", total_steps);
  if (step < 1 || step > total_steps) fail("schedule: step {} is not one of 1 to {}", step, total_steps);
  if (step <= warmup_steps) return peak * static_cast<double>(step) / static_cast<double>(warmup_steps);

  // Fraction of the decay: 0 at the end of the warm-up, 1 at total_steps + 1.
  const double gone =
      static_cast<double>(step - warmup_steps) / static_cast<double>(total_steps + 1 - warmup_steps);
  switch (decay) {
    case Decay::kConstant:
      return peak;
    case Decay::kLinear:
      return peak * (1 - gone);
    case Decay::kCosine:
      return peak * 0.5 * (1 + std::cos(std::numbers::pi * gone));
  }
  fail("schedule: no such decay");
}

}  // namespace toller
