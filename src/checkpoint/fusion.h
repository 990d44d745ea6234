// Fusion of checkpoints θ_k into one model, tensor by tensor (memory: a few tensors, never whole models).
//
//   delta-guided   w_k = p_k |δ_k|^α / Σ_j p_j |δ_j|^α,  θ = θ_0 + Σ_k w_k δ_k,  δ_k = θ_k − θ_0
//                  |δ| per element, per row (L2 norm of a row of the matrix), per tensor (L2) or per layer (L2 over all
//                  tensors of a layer). Equal (prior) weights where every δ is 0. The idea is CoDiEmb's (merging
//                  weights from each parameter's deviation from its initialisation); its abstract only outlines it, the
//                  formula is Toller's.
//   soup           θ = Σ_k w_k θ_k, w = p normalised (Wortsman et al., "Model soups", ICML 2022)
#pragma once

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
  std::vector<double> weights;  ///< prior weights p_k > 0, one a checkpoint; empty: equal
};

FusionMethod fusion_method_from_name(const std::string& name);
FusionGranularity fusion_granularity_from_name(const std::string& name);

/// Fuses `checkpoints` (base: θ_0, needed by delta-guided) and writes the model to `out`. The encoder configs and
/// tokenizers must agree. Sums run in double; a fusion of equal checkpoints is that checkpoint bit by bit.
void fuse_checkpoints(const std::vector<std::filesystem::path>& checkpoints, const std::filesystem::path& base,
                      const FusionOptions& options, const std::filesystem::path& out);

}  // namespace toller
