// The evaluation of a model on scored pairs of sentences: do its cosines order the pairs as their scores do?
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>

#include "comm/communicator.h"
#include "data/token_store.h"
#include "eval/embedder.h"

namespace toller {

/// The correlations are absent where they are not defined: all cosines alike, or all scores.
struct SimilarityEvaluation {
  std::optional<double> spearman;  ///< the measure of the STS tasks
  std::optional<double> pearson;
  std::int64_t pairs = 0;
  double encode_seconds = 0;
};

/// Cosines of the embeddings of a split's pairs against their scores; the ranks share the work. Error unless
/// the store's task is similarity.
SimilarityEvaluation evaluate_similarity(Embedder& embedder, const TokenStore& store, const Split& split,
                                         Communicator& communicator);

nlohmann::ordered_json to_json(const SimilarityEvaluation& evaluation);

}  // namespace toller
