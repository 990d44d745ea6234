// Similarity losses: pairs of texts, each with a gold score g and a cosine x, and one number for all pairs of
// all ranks. What the losses (loss/similarity.cpp) ask of a device is said here; how they are computed is
// written once for all devices, in similarity.h.
#pragma once

#include <cstdint>

namespace toller {

/// The losses; docs/losses.md has their formulas. Those marked τ take the scores divided by the temperature.
enum class SimilarityKind {
  kPearson,
  kRankKl,  ///< τ, for the target too
  kPro,     ///< τ, gap
  kCosent,  ///< τ
};

struct SimilarityOptions {
  SimilarityKind kind = SimilarityKind::kCosent;
  /// pro: of two pairs the one with the lower gold score is a negative of the other where the difference is
  /// larger than this.
  double gap = 0;
};

/// The pairs of all ranks, in rank order; this rank has the `own` pairs from `first` on.
struct ScoredPairs {
  std::int64_t pairs = 0;
  std::int64_t first = 0, own = 0;
  const double* score = nullptr;  ///< [pairs] x
  const double* gold = nullptr;   ///< [pairs] g
  /// [pairs] what each pair amounts to among all; null where similarity_rows() is still to make it.
  const double* row = nullptr;
};

/// What the gradient of any pair takes of all pairs.
struct SimilarityTotals {
  double score_mean, score_norm;  ///< pearson: mean of x, norm of x − mean; 0 where all are equal
  double gold_mean, gold_norm;    ///< pearson: likewise of g
  double correlation;             ///< pearson
  double score_log_sum;           ///< rank-kl: log Σ e^{x/τ}
  double target_log_sum;          ///< rank-kl: log Σ e^{u/τ}
  double divergence;              ///< rank-kl: n times the value
  double lowest_gold;             ///< pro
  double terms;                   ///< pro: pairs that have negatives
  double log_sum;                 ///< cosent: the value
};

}  // namespace toller
