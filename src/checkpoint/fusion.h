// Fusion of checkpoints θ_k into one model, tensor by tensor: memory for the tensors of one name, never for
// whole models.
//
//   delta-guided   w_k = p_k |δ_k|^α / Σ_j p_j |δ_j|^α,  θ = θ_0 + Σ_k w_k δ_k,  δ_k = θ_k − θ_0
//                  |δ| per element, per row (L2 norm along the last dimension; a vector is one row), per
//                  tensor (L2) or per layer (L2 over all tensors of a layer; the embeddings are one layer, a
//                  tensor outside of the encoder is its own). Prior weights where every δ is 0. The idea is
//                  CoDiEmb's (merging weights from each parameter's deviation from its initialisation); its
//                  abstract only outlines it, the formula is Toller's.
//   soup           θ = Σ_k w_k θ_k, w = p normalised (Wortsman et al., "Model soups", ICML 2022)
//
// As Σ_k w_k = 1, both are computed as θ = θ_1 + Σ_{k>1} w_k (θ_k − θ_1): differences of equal numbers are
// exactly 0, whatever the weights, so that a fusion of equal checkpoints is that checkpoint bit by bit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace toller {

enum class FusionMethod { kDeltaGuided, kSoup };
enum class FusionGranularity { kElement, kRow, kTensor, kLayer };

struct FusionOptions {
  FusionMethod method = FusionMethod::kDeltaGuided;
  FusionGranularity granularity = FusionGranularity::kTensor;
  double alpha = 1.0;
  std::vector<double> weights = {};  ///< prior weights p_k > 0, one a checkpoint; empty: equal
};

struct FusionSummary {
  std::vector<double> mean_weights;  ///< w_k averaged over all parameters, one a checkpoint
  std::int64_t parameters = 0;
  std::int64_t step = 0;  ///< the greatest of the checkpoints' steps
};

FusionMethod fusion_method_from_name(const std::string& name);
FusionGranularity fusion_granularity_from_name(const std::string& name);
std::string fusion_method_name(FusionMethod method);
std::string fusion_granularity_name(FusionGranularity granularity);

/// Fuses `checkpoints` (base: θ_0, needed by delta-guided) and writes the model to `out`: no optimiser state,
/// origin says what was fused and how. The encoder configs (but for dropout and initialisation) and
/// tokenizers must agree. Sums run in double; the result is stored as float64 if one of the checkpoints is.
FusionSummary fuse_checkpoints(const std::vector<std::filesystem::path>& checkpoints,
                               const std::filesystem::path& base, const FusionOptions& options,
                               const std::filesystem::path& out);

}  // namespace toller
