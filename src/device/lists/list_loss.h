// List-wise losses: a query's documents, their scores s and grades y, one number and its derivatives. What
// the losses (loss/list_loss.cpp) ask of a device is said here; how one list is computed is written once for
// all devices, in list_softmax.h, list_pairs.h, list_hinge.h and list_rankings.h.
#pragma once

#include <cstdint>

namespace toller {

/// The losses; docs/losses.md has their formulas. Those marked τ take the scores divided by the temperature.
enum class ListLossKind {
  kListNet,          ///< τ
  kListMle,          ///< τ
  kKl,               ///< τ; wants teacher scores
  kRankNet,          ///< scale
  kWeightedRankNet,  ///< scale
  kLambda,           ///< scale
  kIrpo,             ///< scale
  kBpr,              ///< scale
  kReverseBpr,       ///< scale
  kMarginMse,        ///< wants teacher scores
  kHinge,            ///< margin, negatives
  kPgRank,           ///< τ, samples, cutoff, seed
};

/// Which negatives a positive of the hinge loss meets: all; the one with the highest score; the highest of
/// those below the positive, or the lowest of all where none is below it.
enum class HingeNegatives { kAll, kHardest, kSemiHard };

struct ListLossOptions {
  ListLossKind kind = ListLossKind::kRankNet;
  double scale = 0;  ///< c, by which scores are multiplied; 0: 1 for bpr and reverse-bpr, else 5
  double margin = 0.2;
  HingeNegatives negatives = HingeNegatives::kAll;
  double teacher_temperature = 1;  ///< kl: teacher scores are divided by it
  std::int32_t samples = 16;       ///< pg-rank: rankings drawn a query, at least 2
  std::int32_t cutoff = 10;        ///< pg-rank: k of nDCG@k; longer than a list: all of it
  std::uint64_t seed = 1;          ///< pg-rank
};

/// What a device takes of the options, and the batch's place in the training for random numbers.
struct ListLossSetup {
  ListLossOptions options;
  std::uint32_t step = 0;
  std::int64_t first_query = 0;  ///< number of this rank's first query in the global batch
};

/// Lists of documents. Document k of list i is number offsets[i] + k of the arrays. At most one list a query.
struct ScoreLists {
  std::int64_t lists = 0;
  std::int64_t documents = 0;             ///< of all lists
  std::int64_t longest = 0;               ///< documents of a list at most
  const std::int64_t* offsets = nullptr;  ///< [lists + 1], from 0 on
  const std::int32_t* query = nullptr;    ///< [lists] row of the rank's queries
  const std::int32_t* column = nullptr;   ///< [documents] row of the candidates, each in one list at most
  const std::int32_t* grade = nullptr;    ///< [documents] ≥ 0
  const float* teacher = nullptr;         ///< [documents], or null
};

/// Most documents of a list on a GPU.
inline constexpr std::int64_t kLongestDeviceList = 1024;

}  // namespace toller
