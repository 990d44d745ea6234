// BM25, the lexical baseline, as Lucene computes it (Kamphuis et al. 2020, "Which BM25 do you mean?", variant
// "Lucene (accurate)"):
//   score(q, d) = Σ_{t ∈ q} idf(t) · tf / (tf + k1 · (1 − b + b · |d| / mean |d|)),
//   idf(t) = ln(1 + (N − df + 0.5) / (df + 0.5)).
// A term that a query has twice counts twice. Words are neither stemmed nor stopped: on the sample collection
// a Snowball stemmer lowered nDCG@10.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "eval/scorer.h"

namespace toller {

struct Bm25Options {
  double k1 = 1.2;  ///< Lucene's defaults
  double b = 0.75;
};

/// Inverted index with the query-independent part of every score.
class Bm25Index {
 public:
  /// UsageError for k1 < 0 or b outside [0, 1].
  Bm25Index(std::span<const std::string> documents, const Bm25Options& options);

  struct Posting {
    std::int32_t document;  ///< row
    float weight;           ///< idf · saturated tf
  };
  /// Documents of a term, rows ascending; empty for an unknown term.
  std::span<const Posting> postings(const std::string& term) const;

  std::int64_t documents() const { return documents_; }

 private:
  std::int64_t documents_ = 0;
  std::unordered_map<std::string, std::int32_t> terms_;
  std::vector<std::int64_t> offsets_{0};  ///< [terms + 1]
  std::vector<Posting> postings_;
};

/// Scores of query texts; documents without a term of the query score 0 and are no hits.
class Bm25Scorer final : public Scorer {
 public:
  /// `index` must outlive this.
  Bm25Scorer(const Bm25Index& index, std::span<const std::string> queries);

  std::int64_t queries() const override { return std::ssize(queries_); }
  std::int64_t documents() const override { return index_.documents(); }
  void score(RowRange queries, RowRange documents, std::span<float> out) const override;
  float no_hit() const override { return 0; }

 private:
  struct QueryTerm {
    std::span<const Bm25Index::Posting> postings;
    float count;  ///< in the query
  };
  const Bm25Index& index_;
  std::vector<std::vector<QueryTerm>> queries_;
};

}  // namespace toller
