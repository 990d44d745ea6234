#include "checkpoint/fusion_rule.h"

namespace toller {
namespace {

class Soup final : public FusionRule {
 public:
  explicit Soup(const FusionTask& task) : task_(task) {}

  void fuse(const FusionBlock& block, std::span<double> fused, std::span<double> totals) const override {
    blend(block, task_.prior, 0, block.size(), fused);
    count_weights(task_.prior, block.size(), totals);
  }

 private:
  const FusionTask& task_;
};

}  // namespace

std::unique_ptr<FusionRule> make_fusion_rule(const FusionTask& task) {
  switch (task.options.method) {
    case FusionMethod::kDeltaGuided:
      return make_delta_guided(task);
    case FusionMethod::kTaskArithmetic:
      return make_task_arithmetic(task);
    case FusionMethod::kTies:
      return make_ties(task);
    case FusionMethod::kDare:
      return make_dare(task);
    case FusionMethod::kSlerp:
      return make_slerp(task);
    case FusionMethod::kSoup:
      break;
  }
  return std::make_unique<Soup>(task);
}

void blend(const FusionBlock& block, std::span<const double> weights, std::size_t begin, std::size_t end,
           std::span<double> fused) {
  const std::vector<double>& first = block.values.front();
  for (std::size_t i = begin; i < end; ++i) {
    double change = 0;
    for (std::size_t k = 1; k < weights.size(); ++k) change += weights[k] * (block.values[k][i] - first[i]);
    fused[i] = change == 0 ? first[i] : first[i] + change;
  }
}

void count_weights(std::span<const double> weights, std::size_t elements, std::span<double> totals) {
  for (std::size_t k = 0; k < weights.size(); ++k) totals[k] += weights[k] * static_cast<double>(elements);
}

}  // namespace toller
