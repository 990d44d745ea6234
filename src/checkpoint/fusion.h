// Fusion of checkpoints θ_k into one model, block by block: memory for a few million parameters, never for
// whole tensors. Under mpirun the ranks share the blocks; the result does not depend on their number. Below,
// δ_k = θ_k − θ_0 where θ_0 is the base, and the prior weights p_k are normalised, Σ p_k = 1.
//
//   delta-guided     w_k = p_k |δ_k|^α / Σ_j p_j |δ_j|^α,  θ = θ_0 + Σ_k w_k δ_k
//                    |δ| per element, per row (L2 norm along the last dimension; a vector is one row), per
//                    tensor (L2) or per layer (L2 over all tensors of a layer; the embeddings are one layer,
//                    a tensor outside of the encoder is its own). Prior weights where every δ is 0. The idea
//                    is CoDiEmb's (merging weights from each parameter's deviation from its initialisation);
//                    its abstract only outlines it, the formula is Toller's.
//   soup             θ = Σ_k p_k θ_k (Wortsman et al., "Model soups", ICML 2022)
//   task-arithmetic  θ = θ_0 + λ Σ_k p_k δ_k (Ilharco et al., "Editing models with task arithmetic",
//                    ICLR 2023, who add up: λ = K with equal weights)
//   ties             of each δ_k only the share `density` of largest magnitude is kept, tensor by tensor,
//                    the rest is 0; s = sign Σ_k p_k δ_k; element by element
//                    θ = θ_0 + λ Σ_{k: sign δ_k = s} p_k δ_k / Σ_{k: sign δ_k = s} p_k,
//                    θ_0 where the sum is 0 (Yadav et al., "TIES-Merging", NeurIPS 2023, who trim all
//                    tensors together)
//   dare             m_k = 0 with probability `drop`, else 1, for each element;
//                    θ = θ_0 + λ Σ_k p_k m_k δ_k / (1 − drop)
//                    (Yu et al., "Language models are super Mario", ICML 2024)
//   slerp            of two checkpoints, tensor by tensor, Ω the angle between them:
//                    θ = (sin((1 − t)Ω) θ_1 + sin(tΩ) θ_2) / sin Ω; (1 − t) θ_1 + t θ_2 where they are nearly
//                    parallel (Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985)
//
// Weighted means are computed as θ = θ_1 + Σ_{k>1} w_k (θ_k − θ_1): differences of equal numbers are exactly
// 0, whatever the weights, so that a soup or a delta-guided fusion of equal checkpoints is that checkpoint
// bit by bit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"

namespace toller {

enum class FusionMethod { kDeltaGuided, kSoup, kTaskArithmetic, kTies, kDare, kSlerp };
enum class FusionGranularity { kElement, kRow, kTensor, kLayer };

struct FusionOptions {
  FusionMethod method = FusionMethod::kDeltaGuided;
  FusionGranularity granularity = FusionGranularity::kTensor;
  double alpha = 1.0;                ///< of delta-guided, at least 0
  std::vector<double> weights = {};  ///< prior weights p_k > 0, one a checkpoint; empty: equal; none of slerp
  double scale = 1.0;                ///< λ of task-arithmetic, ties and dare
  double density = 0.2;              ///< of ties, in (0, 1]
  double drop = 0.5;                 ///< of dare, in [0, 1)
  std::uint64_t seed = 1;            ///< of dare
  double fraction = 0.5;             ///< t of slerp, in [0, 1]
  std::int64_t block_elements = 0;   ///< of a model in memory at once (whole rows); 0: chosen
  std::vector<TensorRename> renames = {};  ///< of the files' tensors; each must apply to one of the files
};

struct FusionSummary {
  /// Each checkpoint's weight averaged over all parameters (of ties: its share of the mean, 0 where it has
  /// none).
  std::vector<double> mean_weights;
  std::int64_t parameters = 0;
  std::int64_t step = 0;  ///< the greatest of the checkpoints' steps
};

FusionMethod fusion_method_from_name(const std::string& name);
FusionGranularity fusion_granularity_from_name(const std::string& name);
std::string fusion_method_name(FusionMethod method);
std::vector<std::string> fusion_method_names();
std::string fusion_granularity_name(FusionGranularity granularity);

/// Whether the method needs θ_0.
bool needs_base(FusionMethod method);

/// What the method was told, by the names of the options of `toller fuse`; without the weights.
nlohmann::ordered_json fusion_settings(const FusionOptions& options);

/// UsageError naming the option of `toller fuse` that is wrong.
void check_fusion_options(std::size_t checkpoints, bool has_base, const FusionOptions& options);

/// Collective. Fuses `checkpoints` (base: θ_0, not read by a method that does not need it) and writes the
/// model to `out`, on rank 0: no optimiser state, origin says what was fused and how. The encoder configs
/// (but for dropout and initialisation) and tokenizers must agree. Sums run in double; the result is stored
/// as float64 if one of the checkpoints is.
FusionSummary fuse_checkpoints(const std::vector<std::filesystem::path>& checkpoints,
                               const std::filesystem::path& base, const FusionOptions& options,
                               const std::filesystem::path& out, Communicator& communicator);

}  // namespace toller
