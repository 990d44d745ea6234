#include "checkpoint/fusion_rule.h"
#include "random.h"

namespace toller {
namespace {

/// θ = θ_0 + λ Σ_k p_k δ_k, calculated from the soup s as s + (λ − 1)(s − θ_0), so that λ = 1 is the soup.
class TaskArithmetic final : public FusionRule {
 public:
  explicit TaskArithmetic(const FusionTask& task) : task_(task) {}

  void fuse(const FusionBlock& block, std::span<double> fused, std::span<double> totals) const override {
    blend(block, task_.prior, 0, block.size(), fused);
    count_weights(task_.prior, block.size(), totals);
    const double beyond = task_.options.scale - 1;
    if (beyond == 0) return;
    for (std::size_t i = 0; i < block.size(); ++i) fused[i] += beyond * (fused[i] - block.base[i]);
  }

 private:
  const FusionTask& task_;
};

/// Whether an element of a tensor is dropped: depends on seed, checkpoint, tensor and element alone. Elements
/// are asked for in ascending order, four of which take their numbers from one block.
class Dropping {
 public:
  Dropping(const FusionOptions& options, std::size_t checkpoint, std::size_t tensor)
      : options_(options),
        checkpoint_(std::uint64_t{checkpoint} << 32),
        tensor_(static_cast<std::uint32_t>(tensor)) {}

  bool operator()(std::int64_t element) {
    const auto quad = static_cast<std::uint64_t>(element / 4);
    if (quad != quad_) {
      numbers_ = random_block(options_.seed, RandomStream::kFusion, checkpoint_ | quad, tensor_);
      quad_ = quad;
    }
    return uniform_open(numbers_[static_cast<std::size_t>(element % 4)]) < options_.drop;
  }

 private:
  const FusionOptions& options_;
  std::uint64_t checkpoint_;
  std::uint32_t tensor_;
  std::uint64_t quad_ = ~std::uint64_t{0};
  PhiloxBlock numbers_{};
};

class Dare final : public FusionRule {
 public:
  explicit Dare(const FusionTask& task) : task_(task) {}

  void fuse(const FusionBlock& block, std::span<double> fused, std::span<double> totals) const override {
    const FusionOptions& options = task_.options;
    std::vector<double> change(block.size());
    for (std::size_t k = 0; k < task_.sources.size(); ++k) {
      Dropping is_dropped(options, k, block.place.tensor);
      for (std::size_t i = 0; i < block.size(); ++i) {
        if (!is_dropped(block.place.first + static_cast<std::int64_t>(i))) {
          change[i] += task_.prior[k] * block.delta(k, i);
        }
      }
    }
    const double scale = options.scale / (1 - options.drop);
    for (std::size_t i = 0; i < block.size(); ++i) {
      fused[i] = change[i] == 0 ? block.base[i] : block.base[i] + scale * change[i];
    }
    count_weights(task_.prior, block.size(), totals);
  }

 private:
  const FusionTask& task_;
};

}  // namespace

std::unique_ptr<FusionRule> make_task_arithmetic(const FusionTask& task) {
  return std::make_unique<TaskArithmetic>(task);
}

std::unique_ptr<FusionRule> make_dare(const FusionTask& task) {
  return std::make_unique<Dare>(task);
}

}  // namespace toller
