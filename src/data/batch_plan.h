// Which texts meet in which step, and which rank encodes them. A batch is a function of (seed, step) alone:
// every rank computes the whole of it, and a resumed run goes on where it stopped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/token_store.h"

namespace toller {

/// The queries of one step over all ranks, each with its documents: positives first, then hard negatives. Of
/// a store whose task is similarity: first sentences, each with its second one, which is neither.
struct GlobalBatch {
  std::vector<std::int32_t> queries;              ///< [B] rows of TokenStore::queries
  std::vector<std::int64_t> document_offsets{0};  ///< [B + 1] documents of query i in `documents`
  std::vector<std::int32_t> documents;            ///< [M] rows of TokenStore::documents
  std::vector<std::int32_t> grades;               ///< [M] as the split judges them; 0 where that is below 0
  std::vector<float> scores;                      ///< [M] as the split has them; empty: it has none
  std::vector<std::int32_t> positives;            ///< [B] how many of a query's documents are positives
  std::vector<std::int64_t> split_rows;           ///< [B] rows of the split (for the judgements)

  std::int64_t size() const { return static_cast<std::int64_t>(queries.size()); }
};

/// Queries [first, last) of a global batch belong to a rank, with their documents.
struct BatchShare {
  std::int64_t first = 0;
  std::int64_t last = 0;
};

/// Contiguous shares that differ by at most one query; empty ones when there are fewer queries than ranks.
BatchShare batch_share(std::int64_t batch_size, int rank, int ranks);

/// How the queries of a share relate to all candidate documents of the batch, as the losses take it
/// (loss/loss.h): compressed rows of column numbers, ascending.
struct CandidateRelations {
  std::vector<std::int64_t> positive_offsets{0};
  std::vector<std::int32_t> positive;
  std::vector<std::int64_t> excluded_offsets{0};
  /// Every other candidate that is judged relevant for the query, or is the query's own document: it must not
  /// count as a negative, from whichever rank it comes.
  std::vector<std::int32_t> excluded;
  /// The documents that query i brought are the columns own_offsets[i] … own_offsets[i+1], from
  /// own_offsets[0] on with these grades: 0 where judged not relevant, −1 for the query's own document.
  std::vector<std::int64_t> own_offsets;
  std::vector<std::int32_t> own_grade;
  std::vector<float> own_score;  ///< likewise, as the split has them; empty: it has none
};

/// Which of a query's documents come into a batch, without replacement, anew every epoch.
enum class DocumentSampling {
  kGrade,      ///< relevant ones with a chance ∝ 2^grade − 1, the others with equal chances
  kHardFirst,  ///< those nearest to the border first: the lowest grades above 0, the highest of the others
  kRandom,     ///< with equal chances
};

/// grade, hard-first or random; UsageError otherwise.
DocumentSampling sampling_from_name(const std::string& name);

struct BatchPlanOptions {
  std::uint64_t seed = 1;
  std::int64_t global_batch = 64;
  std::int64_t positives = 1;       ///< a query, at most
  std::int64_t hard_negatives = 0;  ///< a query, at most: documents judged not relevant
  DocumentSampling sampling = DocumentSampling::kGrade;
};

class BatchPlan {
 public:
  /// Throws Error when no query of the split has a relevant document (where the task is retrieval). Store and
  /// split must outlive the plan.
  BatchPlan(const TokenStore& store, const Split& split, const BatchPlanOptions& options);

  std::int64_t queries() const {
    return static_cast<std::int64_t>(rows_.size());
  }                                      ///< with a relevant document; where the task is similarity: pairs
  std::int64_t steps_per_epoch() const;  ///< the last batch of an epoch may be smaller; nothing is dropped

  /// Batch number `index`, from 0 on through all epochs. An epoch is a seeded permutation of the queries, or
  /// pairs.
  GlobalBatch batch(std::int64_t index);

  CandidateRelations relations(const GlobalBatch& batch, const BatchShare& share) const;

 private:
  void shuffle(std::int64_t epoch);
  void add_query(std::int64_t split_row, std::int64_t epoch, GlobalBatch& batch) const;
  void add_pair(std::int64_t judgement, GlobalBatch& batch) const;
  void add_document(std::int64_t judgement, GlobalBatch& batch) const;
  /// Adds up to `count` documents of a row of the split to the batch, relevant ones or others.
  void sample(std::int64_t split_row, std::int64_t epoch, bool relevant, std::int64_t count,
              GlobalBatch& batch) const;

  const TokenStore& store_;
  const Split& split_;
  BatchPlanOptions options_;
  std::vector<std::int64_t> rows_;   ///< rows of the split with a relevant document; similarity: judgements
  std::vector<std::int64_t> order_;  ///< rows_ as the current epoch visits them
  std::int64_t epoch_ = -1;
};

}  // namespace toller
