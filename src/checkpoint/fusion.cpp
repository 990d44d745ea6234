#include "checkpoint/fusion.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <span>

#include "checkpoint/checkpoint.h"
#include "choice.h"
#include "error.h"

namespace toller {
namespace {

constexpr std::array<std::pair<FusionMethod, const char*>, 2> kMethods = {
    {{FusionMethod::kDeltaGuided, "delta-guided"}, {FusionMethod::kSoup, "soup"}}};

constexpr std::array<std::pair<FusionGranularity, const char*>, 4> kGranularities = {
    {{FusionGranularity::kElement, "element"},
     {FusionGranularity::kRow, "row"},
     {FusionGranularity::kTensor, "tensor"},
     {FusionGranularity::kLayer, "layer"}}};

/// Fields of the encoder config that do not change what the model computes.
constexpr std::array kFreeFields = {"hidden_dropout", "attention_dropout", "initializer_range"};

/// The models at hand: θ_1 … θ_K and, for delta-guided, θ_0.
struct Sources {
  std::vector<CheckpointReader> checkpoints;
  std::vector<CheckpointReader> base;  ///< one or none

  std::size_t size() const { return checkpoints.size(); }
};

/// One tensor of every model.
struct Tensors {
  std::vector<std::vector<double>> values;  ///< per checkpoint
  std::vector<double> base;                 ///< empty for a soup
};

/// The layer a tensor belongs to: "encoder.layer.3.", "embeddings." or its own name.
std::string layer_of(const std::string& name) {
  const std::string embeddings = "embeddings.", layers = "encoder.layer.";
  if (name.starts_with(embeddings)) return embeddings;
  if (!name.starts_with(layers)) return name;
  return name.substr(0, name.find('.', layers.size()) + 1);
}

std::vector<double> read(const CheckpointReader& reader, const TensorView& tensor) {
  std::vector<double> values(static_cast<std::size_t>(tensor.size));
  reader.read_tensor(tensor, std::span(values));
  return values;
}

Tensors read_all(const Sources& sources, const TensorView& tensor) {
  Tensors tensors;
  for (const CheckpointReader& reader : sources.checkpoints) tensors.values.push_back(read(reader, tensor));
  if (!sources.base.empty()) tensors.base = read(sources.base.front(), tensor);
  return tensors;
}

/// Σ δ² over elements [begin, end).
double squared_deviation(const std::vector<double>& values, const std::vector<double>& base,
                         std::size_t begin, std::size_t end) {
  double sum = 0;
  for (std::size_t i = begin; i < end; ++i) sum += (values[i] - base[i]) * (values[i] - base[i]);
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

class Fusion {
 public:
  Fusion(const Sources& sources, const FusionOptions& options)
      : sources_(sources), options_(options), prior_(options.weights), totals_(sources.size()) {
    if (prior_.empty()) prior_.assign(sources.size(), 1.0);
    const double sum = std::accumulate(prior_.begin(), prior_.end(), 0.0);
    for (double& weight : prior_) weight /= sum;
    const bool by_layer = options.granularity == FusionGranularity::kLayer;
    if (by_layer && options.method == FusionMethod::kDeltaGuided) measure_layers();
  }

  const std::vector<double>& prior() const { return prior_; }

  std::vector<double> mean_weights() const {
    std::vector<double> means = totals_;
    for (double& mean : means) mean /= static_cast<double>(table().size());
    return means;
  }

  const ParameterTable& table() const { return sources_.checkpoints.front().table(); }

  std::vector<double> fuse(const TensorView& tensor) {
    const Tensors tensors = read_all(sources_, tensor);
    std::vector<double> weights(sources_.size()), deviations(sources_.size());
    std::vector<double> fused(static_cast<std::size_t>(tensor.size));
    const std::size_t unit = unit_size(tensor);
    for (std::size_t begin = 0; begin < fused.size(); begin += unit) {
      const std::size_t end = begin + unit;
      if (options_.method == FusionMethod::kSoup) {
        std::ranges::copy(prior_, weights.begin());
      } else {
        measure(tensor, tensors, begin, end, deviations);
        set_weights(prior_, options_.alpha, deviations, weights);
      }
      blend(tensors, weights, begin, end, fused);
      for (std::size_t k = 0; k < weights.size(); ++k) totals_[k] += weights[k] * static_cast<double>(unit);
    }
    return fused;
  }

 private:
  /// Elements that share their weights.
  std::size_t unit_size(const TensorView& tensor) const {
    if (options_.method == FusionMethod::kDeltaGuided) {
      if (options_.granularity == FusionGranularity::kElement) return 1;
      if (options_.granularity == FusionGranularity::kRow)
        return static_cast<std::size_t>(tensor.shape.back());
    }
    return static_cast<std::size_t>(tensor.size);
  }

  void measure_layers() {
    for (const TensorView& tensor : table().tensors()) {
      const Tensors tensors = read_all(sources_, tensor);
      std::vector<double>& squares = layer_deviations_[layer_of(tensor.name)];
      squares.resize(sources_.size());
      for (std::size_t k = 0; k < squares.size(); ++k) {
        squares[k] += squared_deviation(tensors.values[k], tensors.base, 0, tensors.base.size());
      }
    }
    for (auto& [layer, deviations] : layer_deviations_) {
      for (double& deviation : deviations) deviation = std::sqrt(deviation);
    }
  }

  void measure(const TensorView& tensor, const Tensors& tensors, std::size_t begin, std::size_t end,
               std::vector<double>& deviations) const {
    if (options_.granularity == FusionGranularity::kLayer) {
      deviations = layer_deviations_.at(layer_of(tensor.name));
      return;
    }
    for (std::size_t k = 0; k < deviations.size(); ++k) {
      // A square of a tiny difference would be 0, and the weights those of no difference at all.
      deviations[k] = options_.granularity == FusionGranularity::kElement
                          ? std::abs(tensors.values[k][begin] - tensors.base[begin])
                          : std::sqrt(squared_deviation(tensors.values[k], tensors.base, begin, end));
    }
  }

  /// θ = θ_1 + Σ_{k>1} w_k (θ_k − θ_1). Where the sum is 0, θ_1 stays as it is, the sign of a zero included.
  static void blend(const Tensors& tensors, std::span<const double> weights, std::size_t begin,
                    std::size_t end, std::vector<double>& fused) {
    const std::vector<double>& first = tensors.values.front();
    for (std::size_t i = begin; i < end; ++i) {
      double change = 0;
      for (std::size_t k = 1; k < weights.size(); ++k)
        change += weights[k] * (tensors.values[k][i] - first[i]);
      fused[i] = change == 0 ? first[i] : first[i] + change;
    }
  }

  const Sources& sources_;
  const FusionOptions& options_;
  std::vector<double> prior_;   ///< normalised
  std::vector<double> totals_;  ///< Σ of the weights over all elements so far
  std::map<std::string, std::vector<double>> layer_deviations_;
};

void check_options(std::size_t checkpoints, bool has_base, const FusionOptions& options) {
  if (checkpoints == 0) fail_usage("fusion needs at least one checkpoint");
  if (options.method == FusionMethod::kDeltaGuided && !has_base) {
    fail_usage("delta-guided fusion needs a base: the model before training (--base RUN/step-00000000.h5)");
  }
  if (!std::isfinite(options.alpha) || options.alpha < 0)
    fail_usage("alpha is {}, must be at least 0", options.alpha);
  if (options.weights.empty()) return;
  if (options.weights.size() != checkpoints) {
    fail_usage("{} weights for {} checkpoints", options.weights.size(), checkpoints);
  }
  for (const double weight : options.weights) {
    if (!std::isfinite(weight) || weight <= 0) fail_usage("weight {} must be greater than 0", weight);
  }
}

/// Throws Error unless both hold the same kind of model.
void check_same_model(const CheckpointReader& first, const CheckpointReader& other) {
  const std::string a = first.path().string(), b = other.path().string();
  const nlohmann::json left = to_json(first.meta().encoder), right = to_json(other.meta().encoder);
  for (const auto& [field, value] : left.items()) {
    if (std::ranges::find(kFreeFields, field) != kFreeFields.end()) continue;
    if (right.at(field) != value) {
      fail("cannot fuse {} with {}: encoder config, field {}: {} and {}", a, b, field, value.dump(),
           right.at(field).dump());
    }
  }
  if (first.meta().tokenizer != other.meta().tokenizer) {
    fail("cannot fuse {} with {}: their tokenizers differ", a, b);
  }
}

Sources open_sources(const std::vector<std::filesystem::path>& checkpoints, const std::filesystem::path& base,
                     const FusionOptions& options) {
  Sources sources;
  for (const auto& path : checkpoints) {
    sources.checkpoints.emplace_back(path);
    check_same_model(sources.checkpoints.front(), sources.checkpoints.back());
  }
  if (options.method == FusionMethod::kDeltaGuided) {
    sources.base.emplace_back(base);
    check_same_model(sources.checkpoints.front(), sources.base.front());
  }
  return sources;
}

nlohmann::json origin_json(const Sources& sources, const FusionOptions& options,
                           const std::vector<double>& prior) {
  nlohmann::json origin = {{"method", fusion_method_name(options.method)},
                           {"sources", nlohmann::json::array()}};
  if (options.method == FusionMethod::kDeltaGuided) {
    origin["granularity"] = fusion_granularity_name(options.granularity);
    origin["alpha"] = options.alpha;
    origin["base"] = sources.base.front().path().string();
  }
  for (std::size_t k = 0; k < sources.size(); ++k) {
    const CheckpointReader& source = sources.checkpoints[k];
    origin["sources"].push_back({{"path", source.path().string()},
                                 {"step", source.meta().step},
                                 {"weight", prior[k]},
                                 {"origin", source.meta().origin}});
  }
  return origin;
}

template <class T>
void write_fusion(Fusion& fusion, CheckpointWriter& writer) {
  for (const TensorView& tensor : fusion.table().tensors()) {
    const std::vector<double> fused = fusion.fuse(tensor);
    const std::vector<T> rounded(fused.begin(), fused.end());
    writer.write_tensor(tensor, std::span<const T>(rounded));
  }
}

}  // namespace

FusionMethod fusion_method_from_name(const std::string& name) {
  return value_of_word("fusion method", name, kMethods);
}

FusionGranularity fusion_granularity_from_name(const std::string& name) {
  return value_of_word("granularity", name, kGranularities);
}

std::string fusion_method_name(FusionMethod method) {
  return kMethods[static_cast<std::size_t>(method)].second;
}

std::string fusion_granularity_name(FusionGranularity granularity) {
  return kGranularities[static_cast<std::size_t>(granularity)].second;
}

FusionSummary fuse_checkpoints(const std::vector<std::filesystem::path>& checkpoints,
                               const std::filesystem::path& base, const FusionOptions& options,
                               const std::filesystem::path& out) {
  check_options(checkpoints.size(), !base.empty(), options);
  const Sources sources = open_sources(checkpoints, base, options);
  Fusion fusion(sources, options);
  CheckpointMeta meta;
  meta.encoder = sources.checkpoints.front().meta().encoder;
  meta.tokenizer = sources.checkpoints.front().meta().tokenizer;
  meta.origin = origin_json(sources, options, fusion.prior());
  bool wide = false;
  for (const CheckpointReader& source : sources.checkpoints) {
    meta.step = std::max(meta.step, source.meta().step);
    wide = wide || source.type() == ElementType::kFloat64;
  }
  CheckpointWriter writer(out, meta);
  if (wide) {
    write_fusion<double>(fusion, writer);
  } else {
    write_fusion<float>(fusion, writer);
  }
  writer.commit();
  return {fusion.mean_weights(), fusion.table().size(), meta.step};
}

}  // namespace toller
