#include "eval/scorer.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "error.h"

namespace toller {
namespace {

void check_embeddings(std::span<const float> embeddings, std::int64_t dimension, const char* what) {
  if (dimension < 1 || std::ssize(embeddings) % dimension != 0) {
    fail("{} values of {} embeddings are no multiple of the dimension {}", embeddings.size(), what,
         dimension);
  }
  const auto bad = std::ranges::find_if(embeddings, [](float value) { return !std::isfinite(value); });
  if (bad != embeddings.end()) {
    fail("the embedding of {} row {} is not finite: the model has diverged", what,
         (bad - embeddings.begin()) / dimension);
  }
}

}  // namespace

DenseScorer::DenseScorer(std::span<const float> queries, std::span<const float> documents,
                         std::int64_t dimension)
    : queries_(queries), documents_(documents), dimension_(dimension) {
  check_embeddings(queries, dimension, "query");
  check_embeddings(documents, dimension, "document");
}

void DenseScorer::score(RowRange queries, RowRange documents, std::span<float> out) const {
  const auto size = [](std::int64_t n) { return static_cast<blasint>(n); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, size(queries.size()), size(documents.size()),
              size(dimension_), 1.0F, queries_.data() + queries.first * dimension_, size(dimension_),
              documents_.data() + documents.first * dimension_, size(dimension_), 0.0F, out.data(),
              size(documents.size()));
}

void for_each_score_block(const Scorer& scorer, int part, int parts,
                          const std::function<void(const ScoreBlock&)>& visit) {
  std::vector<float> scores(std::min(kQueryBlock, scorer.queries()) *
                            std::min(kDocumentBlock, scorer.documents()));
  for (std::int64_t q = part * kQueryBlock; q < scorer.queries(); q += parts * kQueryBlock) {
    const RowRange queries{q, std::min(q + kQueryBlock, scorer.queries())};
    for (std::int64_t d = 0; d < scorer.documents(); d += kDocumentBlock) {
      const RowRange documents{d, std::min(d + kDocumentBlock, scorer.documents())};
      const std::span<float> block = std::span(scores).first(queries.size() * documents.size());
      scorer.score(queries, documents, block);
      visit({queries, documents, block});
    }
  }
}

}  // namespace toller
