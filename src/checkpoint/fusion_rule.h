// How one method of fusion makes θ of θ_0 … θ_K. A rule looks at all tensors when it is made, and then fuses
// blocks in any order. Formulas: fusion.h.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "checkpoint/fusion.h"
#include "checkpoint/fusion_sources.h"

namespace toller {

class FusionRule {
 public:
  virtual ~FusionRule() = default;
  /// θ of a block into `fused` [block.size()]. Adds each checkpoint's weight, summed over the elements, to
  /// `totals` [K].
  virtual void fuse(const FusionBlock& block, std::span<double> fused, std::span<double> totals) const = 0;
};

/// What a rule is made of; must outlive it.
struct FusionTask {
  const FusionSources& sources;
  const FusionOptions& options;
  std::vector<double> prior;  ///< p_k with Σ p_k = 1
};

/// Collective, as are the functions below: all ranks make the same rule.
std::unique_ptr<FusionRule> make_fusion_rule(const FusionTask& task);

std::unique_ptr<FusionRule> make_delta_guided(const FusionTask& task);
std::unique_ptr<FusionRule> make_task_arithmetic(const FusionTask& task);
std::unique_ptr<FusionRule> make_ties(const FusionTask& task);
std::unique_ptr<FusionRule> make_dare(const FusionTask& task);
std::unique_ptr<FusionRule> make_slerp(const FusionTask& task);

/// θ = θ_1 + Σ_{k>1} w_k (θ_k − θ_1) of elements [begin, end), for weights of sum 1. Where the sum is 0, θ_1
/// stays as it is, the sign of a zero included.
void blend(const FusionBlock& block, std::span<const double> weights, std::size_t begin, std::size_t end,
           std::span<double> fused);

/// Adds weights that hold for `elements` elements to the totals.
void count_weights(std::span<const double> weights, std::size_t elements, std::span<double> totals);

}  // namespace toller
