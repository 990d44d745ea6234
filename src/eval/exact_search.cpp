#include "eval/exact_search.h"

#include <algorithm>
#include <limits>

#include "error.h"
#include "eval/query_shares.h"

namespace toller {
namespace {

bool better(const Hit& a, const Hit& b) {
  return a.score != b.score ? a.score > b.score : a.document < b.document;
}

/// Keeps the best k of a stream whose rows ascend. Candidates gather in a buffer of 2k that is cut to k by
/// quickselect when full: constant time a candidate, whatever k is.
class TopK {
 public:
  TopK(std::int64_t k, float no_hit) : k_(static_cast<std::size_t>(k)), threshold_(no_hit) {}

  void add(std::span<const float> scores, std::int64_t first_document, std::int32_t excluded) {
    for (std::size_t i = 0; i < scores.size(); ++i) {
      // A later row does not beat the k-th best with the same score.
      if (!(scores[i] > threshold_)) continue;
      const auto document = static_cast<std::int32_t>(first_document + static_cast<std::int64_t>(i));
      if (document == excluded) continue;
      hits_.push_back({document, scores[i]});
      if (hits_.size() == 2 * k_) shrink();
    }
  }

  std::vector<Hit> take() {
    if (hits_.size() > k_) shrink();
    std::ranges::sort(hits_, better);
    return std::move(hits_);
  }

 private:
  void shrink() {
    std::ranges::nth_element(hits_, hits_.begin() + static_cast<std::ptrdiff_t>(k_ - 1), better);
    hits_.resize(k_);
    threshold_ = hits_.back().score;
  }

  std::size_t k_;
  float threshold_;
  std::vector<Hit> hits_;
};

/// Hits of all ranks on all ranks, in `hits`. Rows travel as doubles, which hold every 32-bit integer.
void gather_hits(SearchHits& hits, Communicator& communicator) {
  const QueryShares shares(std::ssize(hits), communicator);
  std::vector<double> counts, documents, scores;
  for (const std::int64_t query : shares.mine()) {
    counts.push_back(static_cast<double>(hits[query].size()));
    for (const Hit& hit : hits[query]) {
      documents.push_back(hit.document);
      scores.push_back(hit.score);
    }
  }
  counts = gather_varying(counts, communicator);
  documents = gather_varying(documents, communicator);
  scores = gather_varying(scores, communicator);
  std::size_t next_query = 0, next_hit = 0;
  for (const std::int64_t query : shares.in_rank_order()) {
    std::vector<Hit> gathered(static_cast<std::size_t>(counts[next_query++]));
    for (Hit& hit : gathered) {
      hit = {static_cast<std::int32_t>(documents[next_hit]), static_cast<float>(scores[next_hit])};
      ++next_hit;
    }
    hits[query] = std::move(gathered);
  }
}

}  // namespace

SearchHits exact_search(const Scorer& scorer, std::int64_t k, std::span<const std::int32_t> excluded,
                        Communicator& communicator) {
  if (k < 1) fail("search: k must be at least 1, found {}", k);
  if (!excluded.empty() && std::ssize(excluded) != scorer.queries()) {
    fail("search: {} excluded documents for {} queries", excluded.size(), scorer.queries());
  }
  k = std::min(k, std::max<std::int64_t>(scorer.documents(), 1));
  SearchHits hits(scorer.queries());
  std::vector<TopK> best;
  for_each_score_block(scorer, communicator.rank(), communicator.size(), [&](const ScoreBlock& block) {
    if (block.documents.first == 0) best.assign(block.queries.size(), TopK(k, scorer.no_hit()));
    const bool last = block.documents.last == scorer.documents();
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t query = block.queries.first; query < block.queries.last; ++query) {
      TopK& top = best[query - block.queries.first];
      top.add(block.row(query), block.documents.first, excluded.empty() ? -1 : excluded[query]);
      if (last) hits[query] = top.take();
    }
  });
  if (communicator.size() > 1) gather_hits(hits, communicator);
  return hits;
}

}  // namespace toller
