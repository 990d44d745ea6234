#include <array>
#include <cmath>

#include "checkpoint/fusion_rule.h"

namespace toller {
namespace {

/// 1 − |cos Ω| below which two tensors count as parallel: the arc and the chord between them then differ by
/// less than 1e-6 of their length, and sin Ω would be too small to divide by.
constexpr double kParallel = 1e-6;

class Slerp final : public FusionRule {
 public:
  explicit Slerp(const FusionTask& task) {
    const auto sums = task.sources.sum_by_tensor(3, [](const FusionBlock& block, std::span<double> products) {
      for (std::size_t i = 0; i < block.size(); ++i) {
        const double a = block.values[0][i], b = block.values[1][i];
        products[0] += a * a;
        products[1] += b * b;
        products[2] += a * b;
      }
    });
    for (const std::vector<double>& products : sums) {
      weights_.push_back(weights(products, task.options.fraction));
    }
  }

  void fuse(const FusionBlock& block, std::span<double> fused, std::span<double> totals) const override {
    const Weights& weights = weights_[block.place.tensor];
    if (weights.linear) {
      blend(block, weights.of, 0, block.size(), fused);
    } else {
      for (std::size_t i = 0; i < block.size(); ++i) {
        fused[i] = weights.of[0] * block.values[0][i] + weights.of[1] * block.values[1][i];
      }
    }
    count_weights(weights.of, block.size(), totals);
  }

 private:
  struct Weights {
    std::array<double, 2> of{};
    bool linear = true;  ///< their sum is 1
  };

  /// `products`: |θ_1|², |θ_2|², ⟨θ_1, θ_2⟩ of a tensor.
  static Weights weights(std::span<const double> products, double t) {
    const double lengths = std::sqrt(products[0]) * std::sqrt(products[1]);
    const double cosine = lengths > 0 ? products[2] / lengths : 1.0;
    if (1 - std::abs(cosine) < kParallel) return {.of = {1 - t, t}};
    const double angle = std::acos(cosine), sine = std::sin(angle);
    return {.of = {std::sin((1 - t) * angle) / sine, std::sin(t * angle) / sine}, .linear = false};
  }

  std::vector<Weights> weights_;  ///< a tensor
};

}  // namespace

std::unique_ptr<FusionRule> make_slerp(const FusionTask& task) {
  return std::make_unique<Slerp>(task);
}

}  // namespace toller
