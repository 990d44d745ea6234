#include "train/split_evaluation.h"

#include <fmt/format.h>

#include "eval/evaluation.h"
#include "eval/similarity_evaluation.h"

namespace toller {

std::string evaluate_split(Embedder& embedder, const TokenStore& store, const Split& split,
                           std::int64_t most_queries, const std::string& prefix, Communicator& communicator,
                           nlohmann::ordered_json& line) {
  if (store.task == Task::kSimilarity) {
    const SimilarityEvaluation evaluation = evaluate_similarity(embedder, store, split, communicator);
    if (!evaluation.spearman) return "has no Spearman correlation: all cosines are alike";
    line[prefix + "/spearman"] = *evaluation.spearman;
    line[prefix + "/pearson"] = *evaluation.pearson;
    return fmt::format("Spearman {:.4f}, Pearson {:.4f} ({} pairs)", *evaluation.spearman,
                       *evaluation.pearson, evaluation.pairs);
  }
  const Evaluation evaluation =
      evaluate_model(embedder, store, split, {.auc = false, .most_queries = most_queries}, communicator);
  for (const auto& [name, value] : evaluation.metrics) line[prefix + "/" + name] = value;
  return fmt::format("nDCG@10 {:.4f}, MRR@10 {:.4f}, recall@100 {:.4f} ({} queries)",
                     evaluation.metric("ndcg@10"), evaluation.metric("mrr@10"),
                     evaluation.metric("recall@100"), evaluation.queries);
}

}  // namespace toller
