#include "eval/similarity_evaluation.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

#include "error.h"
#include "eval/correlation.h"
#include "seconds_since.h"

namespace toller {
namespace {

/// The rows that occur, each once, ascending.
std::vector<std::int32_t> distinct(std::vector<std::int32_t> rows) {
  std::ranges::sort(rows);
  rows.erase(std::unique(rows.begin(), rows.end()), rows.end());
  return rows;
}

std::vector<float> embed_rows(Embedder& embedder, const TokenTable& table, Side side,
                              std::span<const std::int32_t> rows, Communicator& communicator) {
  const TokenTable part = table.select(rows);
  std::vector<float> embeddings(static_cast<std::size_t>(part.rows() * embedder.dimension()));
  embedder.embed_all(part, side, communicator, embeddings);
  return embeddings;
}

double cosine(const float* a, const float* b, std::int64_t dimension) {
  double ab = 0, aa = 0, bb = 0;
  for (std::int64_t i = 0; i < dimension; ++i) {
    ab += static_cast<double>(a[i]) * b[i];
    aa += static_cast<double>(a[i]) * a[i];
    bb += static_cast<double>(b[i]) * b[i];
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace

SimilarityEvaluation evaluate_similarity(Embedder& embedder, const TokenStore& store, const Split& split,
                                         Communicator& communicator) {
  if (store.task != Task::kSimilarity) fail("{}: holds no scored pairs", store.path.string());
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t d = embedder.dimension();
  const std::vector<std::int32_t> seconds = distinct(split.document);
  const std::vector<float> first = embed_rows(embedder, store.queries, Side::kQueries, split.query, communicator);
  const std::vector<float> second = embed_rows(embedder, store.documents, Side::kDocuments, seconds, communicator);
  std::vector<double> cosines;
  for (std::int64_t row = 0; row < split.size(); ++row) {
    for (std::int64_t pair = split.offsets[row]; pair < split.offsets[row + 1]; ++pair) {
      const auto place = std::ranges::lower_bound(seconds, split.document[pair]) - seconds.begin();
      cosines.push_back(cosine(first.data() + row * d, second.data() + place * d, d));
    }
  }
  const std::vector<double> scores(split.score.begin(), split.score.end());
  return {.spearman = spearman_correlation(cosines, scores),
          .pearson = pearson_correlation(cosines, scores),
          .pairs = std::ssize(cosines),
          .encode_seconds = seconds_since(start)};
}

nlohmann::ordered_json to_json(const SimilarityEvaluation& evaluation) {
  nlohmann::ordered_json json;
  if (evaluation.spearman) json["spearman"] = *evaluation.spearman;
  if (evaluation.pearson) json["pearson"] = *evaluation.pearson;
  json["pairs"] = evaluation.pairs;
  json["encode_seconds"] = evaluation.encode_seconds;
  return json;
}

}  // namespace toller
