// Area under the ROC curve by the Mann–Whitney statistic: the share of (positive, negative) pairs that the
// scores put in the right order, equal scores counting one half. Exact, over every document of the
// collection.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "eval/scorer.h"

namespace toller {

/// Scores of positives, ready to be compared with any number of negatives. A table over equal steps of the
/// score narrows the search to the few distinct positives in one step; what it gives is exact.
class SortedPositives {
 public:
  explicit SortedPositives(std::vector<float> scores);

  /// Twice the number of positives above `negative`, plus the number equal to it.
  std::uint64_t twice_wins(float negative) const;
  std::int64_t size() const { return static_cast<std::int64_t>(at_most_.back()); }

 private:
  std::size_t step_of(float score) const;

  std::vector<float> distinct_;         ///< ascending
  std::vector<std::uint32_t> at_most_;  ///< [i]: positives below distinct_[i]; last: all
  std::vector<std::uint32_t> first_;    ///< [step]: first distinct score in the step; one more at the end
  float lowest_ = 0;
  float steps_per_unit_ = 0;
};

/// Area for two lists of scores; 0.5 pairs each way when all are equal. Nothing if either is empty.
std::optional<double> area_under_roc(std::span<const float> positives, std::span<const float> negatives);

/// Judgements of the scorer's queries, as document rows.
struct JudgedDocuments {
  std::vector<std::vector<std::int32_t>> relevant;     ///< [query]
  std::vector<std::vector<std::int32_t>> nonrelevant;  ///< [query], judged and not relevant
  std::vector<std::int32_t> excluded;  ///< [query], the document left out (also of the two above), or −1
};

struct RocAreas {
  /// All relevant pairs of all queries against all other (query, document) pairs: needs scores that compare
  /// across queries.
  std::optional<double> pooled;
  std::optional<double> per_query;  ///< mean over queries of the area within the query
  std::optional<double> judged;     ///< pooled, but against the judged non-relevant pairs alone
};

/// Empty where there is no pair to compare. Ranks share the query blocks; all return the same. Scores every
/// block twice, and holds one score per judgement besides a block.
RocAreas roc_areas(const Scorer& scorer, const JudgedDocuments& judged, Communicator& communicator);

}  // namespace toller
