// The evaluation of a model (or of BM25) on a split of a token store: search over the whole collection,
// ranking metrics, AUC. Used by `toller evaluate` and by the trainer.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "data/token_store.h"
#include "eval/bm25.h"
#include "eval/embedder.h"
#include "eval/exact_search.h"
#include "eval/ranking_metrics.h"
#include "eval/trec_files.h"

namespace toller {

struct EvaluationOptions {
  std::int64_t top_k = 1000;       ///< hits per query that the metrics see; at least 100
  Gain gain = Gain::kExponential;  ///< of nDCG
  bool auc = true;                 ///< costs two more passes over all scores
  std::int64_t most_queries = 0;   ///< 0: all of the split, else that many, evenly spaced over it
};

/// Grades of 1 and more are relevant. A query's own document (TokenStore::same_document) is neither a hit nor
/// judged nor a negative, as with BEIR's ignore_identical_ids.
struct Evaluation {
  /// In the order to show them: ndcg@10, ndcg@100, mrr@10, recall@10, recall@100, recall@1000 (if top_k
  /// reaches it), precision@10, success@1, map; auc, auc_query and auc_judged where they are defined (roc.h).
  std::vector<std::pair<std::string, double>> metrics;
  std::int64_t queries = 0;
  std::int64_t documents = 0;
  double encode_seconds = 0;  ///< for BM25: to build the index
  double search_seconds = 0;
  double auc_seconds = 0;
  std::vector<std::int32_t> query_rows;  ///< of TokenStore::queries
  SearchHits hits;                       ///< one list per query_rows

  /// Error for a metric that is not there.
  double metric(const std::string& name) const;
};

/// Error unless the store's tokens are the model's: prepared with the same tokenizer, whose ids all have a
/// row in the embedding table.
void check_same_tokenizer(const CheckpointReader& model, const TokenStore& store);
/// The same, and that the prompts before texts are those that the model was trained with.
void check_same_texts(const CheckpointReader& model, const TokenStore& store);

/// Collective: every rank calls it with the same arguments and gets the same result (but for the seconds).
Evaluation evaluate_model(Embedder& embedder, const TokenStore& store, const Split& split,
                          const EvaluationOptions& options, Communicator& communicator);
Evaluation evaluate_bm25(const StoreTexts& texts, const TokenStore& store, const Split& split,
                         const EvaluationOptions& options, const Bm25Options& bm25,
                         Communicator& communicator);

/// {"ndcg@10": …, …, "queries": …, "documents": …, "encode_seconds": …, "search_seconds": …, "auc_seconds":
/// …}
nlohmann::ordered_json to_json(const Evaluation& evaluation);

/// The hits as a run with the store's ids.
TrecRun to_trec_run(const Evaluation& evaluation, const TokenStore& store, const std::string& tag);

}  // namespace toller
