// Scores of queries against documents, a block at a time, so that search and AUC never hold queries ×
// documents.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>

namespace toller {

/// Rows [first, last).
struct RowRange {
  std::int64_t first = 0;
  std::int64_t last = 0;
  std::int64_t size() const { return last - first; }
};

class Scorer {
 public:
  virtual ~Scorer() = default;

  virtual std::int64_t queries() const = 0;
  virtual std::int64_t documents() const = 0;
  /// Scores into out [queries.size(), documents.size()], row-major; all finite. Uses the OpenMP threads.
  virtual void score(RowRange queries, RowRange documents, std::span<float> out) const = 0;
  /// Documents with this score or less are never hits of a search.
  virtual float no_hit() const { return -std::numeric_limits<float>::infinity(); }
};

/// Inner products of embeddings (cosines when they have unit length).
class DenseScorer final : public Scorer {
 public:
  /// queries [Q, dimension] and documents [N, dimension], row-major, of the caller. Error for a value that is
  /// not finite, naming the row.
  DenseScorer(std::span<const float> queries, std::span<const float> documents, std::int64_t dimension);

  std::int64_t queries() const override { return std::ssize(queries_) / dimension_; }
  std::int64_t documents() const override { return std::ssize(documents_) / dimension_; }
  void score(RowRange queries, RowRange documents, std::span<float> out) const override;

 private:
  std::span<const float> queries_;
  std::span<const float> documents_;
  std::int64_t dimension_;
};

inline constexpr std::int64_t kQueryBlock = 64;
inline constexpr std::int64_t kDocumentBlock = 8192;

struct ScoreBlock {
  RowRange queries;
  RowRange documents;
  std::span<const float> scores;  ///< [queries.size(), documents.size()]

  std::span<const float> row(std::int64_t query) const {
    return scores.subspan((query - queries.first) * documents.size(), documents.size());
  }
};

/// Visits all blocks of the query blocks part, part + parts, part + 2·parts …: a rank's share. For each query
/// block the document blocks come in ascending order. Blocks do not depend on `parts`, so that neither does
/// rounding.
void for_each_score_block(const Scorer& scorer, int part, int parts,
                          const std::function<void(const ScoreBlock&)>& visit);

}  // namespace toller
