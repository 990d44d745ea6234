#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "checkpoint/fusion_rule.h"

namespace toller {
namespace {

/// The layer a tensor belongs to, in its tower if there are two: "encoder.layer.3.", "embeddings." or its own
/// name.
std::string layer_of(const std::string& name) {
  for (const std::string tower : {"queries.", "documents."}) {
    if (name.starts_with(tower)) return tower + layer_of(name.substr(tower.size()));
  }
  const std::string embeddings = "embeddings.", layers = "encoder.layer.";
  if (name.starts_with(embeddings)) return embeddings;
  if (!name.starts_with(layers)) return name;
  return name.substr(0, name.find('.', layers.size()) + 1);
}

/// Σ δ_k² over elements [begin, end).
double squared_deviation(const FusionBlock& block, std::size_t k, std::size_t begin, std::size_t end) {
  double sum = 0;
  for (std::size_t i = begin; i < end; ++i) sum += block.delta(k, i) * block.delta(k, i);
  return sum;
}

/// Weights w_k from prior weights and deviations |δ_k|; relative to the largest, so that no power underflows.
void set_weights(std::span<const double> prior, double alpha, std::span<const double> deviations,
                 std::span<double> weights) {
  const double largest = *std::ranges::max_element(deviations);
  double sum = 0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    weights[k] = largest > 0 ? prior[k] * std::pow(deviations[k] / largest, alpha) : prior[k];
    sum += weights[k];
  }
  for (double& weight : weights) weight /= sum;
}

class DeltaGuided final : public FusionRule {
 public:
  explicit DeltaGuided(const FusionTask& task) : task_(task) {
    const FusionGranularity granularity = task.options.granularity;
    if (granularity == FusionGranularity::kTensor || granularity == FusionGranularity::kLayer) measure();
  }

  void fuse(const FusionBlock& block, std::span<double> fused, std::span<double> totals) const override {
    std::vector<double> weights(task_.sources.size()), deviations(task_.sources.size());
    const std::size_t unit = unit_size(block);
    for (std::size_t begin = 0; begin < block.size(); begin += unit) {
      for (std::size_t k = 0; k < deviations.size(); ++k) deviations[k] = deviation(block, k, begin, unit);
      set_weights(task_.prior, task_.options.alpha, deviations, weights);
      blend(block, weights, begin, begin + unit, fused);
      count_weights(weights, unit, totals);
    }
  }

 private:
  /// Elements of a block that share their weights.
  std::size_t unit_size(const FusionBlock& block) const {
    if (task_.options.granularity == FusionGranularity::kElement) return 1;
    if (task_.options.granularity == FusionGranularity::kRow)
      return static_cast<std::size_t>(block.place.row);
    return block.size();
  }

  double deviation(const FusionBlock& block, std::size_t k, std::size_t begin, std::size_t unit) const {
    if (!norms_.empty()) return norms_[block.place.tensor][k];
    // A square of a tiny difference would be 0, and the weights those of no difference at all.
    if (unit == 1) return std::abs(block.delta(k, begin));
    return std::sqrt(squared_deviation(block, k, begin, begin + unit));
  }

  /// Norms of tensors or of the layers they belong to.
  void measure() {
    norms_ = task_.sources.sum_by_tensor(task_.sources.size(),
                                         [](const FusionBlock& block, std::span<double> sums) {
                                           for (std::size_t k = 0; k < sums.size(); ++k)
                                             sums[k] += squared_deviation(block, k, 0, block.size());
                                         });
    if (task_.options.granularity == FusionGranularity::kLayer) add_up_layers();
    for (std::vector<double>& squares : norms_) {
      for (double& square : squares) square = std::sqrt(square);
    }
  }

  void add_up_layers() {
    const std::vector<TensorView>& tensors = task_.sources.table().tensors();
    std::map<std::string, std::vector<double>> layers;
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      std::vector<double>& sums = layers[layer_of(tensors[t].name)];
      sums.resize(task_.sources.size());
      for (std::size_t k = 0; k < sums.size(); ++k) sums[k] += norms_[t][k];
    }
    for (std::size_t t = 0; t < tensors.size(); ++t) norms_[t] = layers.at(layer_of(tensors[t].name));
  }

  const FusionTask& task_;
  std::vector<std::vector<double>> norms_;  ///< [tensor][k] at granularity tensor and layer
};

}  // namespace

std::unique_ptr<FusionRule> make_delta_guided(const FusionTask& task) {
  return std::make_unique<DeltaGuided>(task);
}

}  // namespace toller
