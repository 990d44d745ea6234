#include "eval/roc.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "error.h"
#include "eval/query_shares.h"

namespace toller {
namespace {

constexpr std::size_t kMostSteps = std::size_t{1} << 20;

std::vector<float> gather_scores(const std::vector<float>& local, Communicator& communicator) {
  const std::vector<double> all = gather_varying({local.begin(), local.end()}, communicator);
  return {all.begin(), all.end()};
}

/// Scores of the judged pairs of this rank's queries.
struct JudgedScores {
  std::vector<std::vector<float>> relevant;  ///< [query]; empty for queries of other ranks
  std::vector<float> nonrelevant;
};

/// Calls visit(score) for those of `documents` (ascending) that lie in the block.
template <class Visit>
void for_each_in_block(std::span<const float> scores, RowRange block,
                       const std::vector<std::int32_t>& documents, Visit visit) {
  for (auto row = std::ranges::lower_bound(documents, block.first);
       row != documents.end() && *row < block.last; ++row) {
    visit(scores[*row - block.first]);
  }
}

JudgedScores judged_scores(const Scorer& scorer, const JudgedDocuments& judged,
                           const Communicator& communicator) {
  JudgedScores result;
  result.relevant.resize(scorer.queries());
  for_each_score_block(scorer, communicator.rank(), communicator.size(), [&](const ScoreBlock& block) {
    for (std::int64_t query = block.queries.first; query < block.queries.last; ++query) {
      const auto row = block.row(query);
      for_each_in_block(row, block.documents, judged.relevant[query],
                        [&](float score) { result.relevant[query].push_back(score); });
      for_each_in_block(row, block.documents, judged.nonrelevant[query],
                        [&](float score) { result.nonrelevant.push_back(score); });
    }
  });
  return result;
}

/// Documents of each query that are no negatives, ascending: the relevant ones and the excluded one.
std::vector<std::vector<std::int32_t>> not_negative(const JudgedDocuments& judged) {
  std::vector<std::vector<std::int32_t>> rows = judged.relevant;
  for (std::size_t query = 0; query < rows.size(); ++query) {
    if (judged.excluded.empty() || judged.excluded[query] < 0) continue;
    rows[query].insert(std::ranges::lower_bound(rows[query], judged.excluded[query]), judged.excluded[query]);
  }
  return rows;
}

struct Wins {
  std::vector<std::uint64_t>
      pooled;                      ///< [query]: twice the wins of all positives over this query's negatives
  std::vector<std::uint64_t> own;  ///< [query]: the same of the query's own positives
};

/// Counts over whole rows, then takes off those that are no negatives: the long loop has no branch.
Wins count_wins(const Scorer& scorer, const SortedPositives& all, const std::vector<SortedPositives>& own,
                const std::vector<std::vector<std::int32_t>>& skipped, const Communicator& communicator) {
  Wins wins{std::vector<std::uint64_t>(scorer.queries()), std::vector<std::uint64_t>(scorer.queries())};
  for_each_score_block(scorer, communicator.rank(), communicator.size(), [&](const ScoreBlock& block) {
#pragma omp parallel for schedule(dynamic)
    for (std::int64_t query = block.queries.first; query < block.queries.last; ++query) {
      const auto row = block.row(query);
      std::uint64_t pooled = 0, mine = 0;
      for (const float score : row) {
        pooled += all.twice_wins(score);
        mine += own[query].twice_wins(score);
      }
      for_each_in_block(row, block.documents, skipped[query], [&](float score) {
        pooled -= all.twice_wins(score);
        mine -= own[query].twice_wins(score);
      });
      wins.pooled[query] += pooled;
      wins.own[query] += mine;
    }
  });
  return wins;
}

void check(const Scorer& scorer, const JudgedDocuments& judged) {
  const std::int64_t queries = scorer.queries();
  if (std::ssize(judged.relevant) != queries || std::ssize(judged.nonrelevant) != queries ||
      (!judged.excluded.empty() && std::ssize(judged.excluded) != queries)) {
    fail("AUC: judgements of {} queries for {} queries", judged.relevant.size(), queries);
  }
}

/// The judgements with every list ascending and without the excluded documents.
JudgedDocuments normalised(const JudgedDocuments& judged) {
  JudgedDocuments result = judged;
  for (auto* lists : {&result.relevant, &result.nonrelevant}) {
    for (std::size_t query = 0; query < lists->size(); ++query) {
      if (!judged.excluded.empty()) std::erase((*lists)[query], judged.excluded[query]);
      std::ranges::sort((*lists)[query]);
    }
  }
  return result;
}

RocAreas areas_of(const Wins& wins, const std::vector<std::vector<std::int32_t>>& skipped,
                  const JudgedDocuments& judged, std::int64_t documents, Communicator& communicator) {
  double sums[4] = {};  // wins, negatives, sum of areas, queries that have one
  for (const std::int64_t query : QueryShares(std::ssize(skipped), communicator).mine()) {
    const auto negatives = static_cast<double>(documents - std::ssize(skipped[query]));
    const auto positives = static_cast<double>(judged.relevant[query].size());
    sums[0] += static_cast<double>(wins.pooled[query]) / 2;
    sums[1] += negatives;
    if (positives * negatives == 0) continue;
    sums[2] += static_cast<double>(wins.own[query]) / 2 / (positives * negatives);
    sums[3] += 1;
  }
  communicator.all_reduce_sum(std::span<double>(sums));
  double positives = 0;
  for (const auto& rows : judged.relevant) positives += static_cast<double>(rows.size());
  RocAreas areas;
  if (positives * sums[1] > 0) areas.pooled = sums[0] / (positives * sums[1]);
  if (sums[3] > 0) areas.per_query = sums[2] / sums[3];
  return areas;
}

}  // namespace

SortedPositives::SortedPositives(std::vector<float> scores) {
  std::ranges::sort(scores);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (i > 0 && scores[i] == scores[i - 1]) continue;
    distinct_.push_back(scores[i]);
    at_most_.push_back(static_cast<std::uint32_t>(i));
  }
  at_most_.push_back(static_cast<std::uint32_t>(scores.size()));
  const std::size_t steps = std::min(std::bit_ceil(8 * distinct_.size() + 1), kMostSteps);
  first_.assign(steps + 1, static_cast<std::uint32_t>(distinct_.size()));
  if (distinct_.empty()) return;
  lowest_ = distinct_.front();
  steps_per_unit_ = static_cast<float>(steps) / (distinct_.back() - lowest_);
  if (!std::isfinite(steps_per_unit_)) steps_per_unit_ = 0;
  for (std::size_t i = distinct_.size(); i-- > 0;)
    first_[step_of(distinct_[i])] = static_cast<std::uint32_t>(i);
  for (std::size_t step = steps; step-- > 0;) first_[step] = std::min(first_[step], first_[step + 1]);
}

/// Never falls as the score grows (rounding is monotone): a lower step holds only lower scores. The order of
/// the arguments of max turns NaN, from an infinite range, into step 0.
std::size_t SortedPositives::step_of(float score) const {
  const float step = (score - lowest_) * steps_per_unit_;
  const auto last = static_cast<float>(first_.size() - 2);
  return static_cast<std::size_t>(std::min(std::max(0.0F, step), last));
}

std::uint64_t SortedPositives::twice_wins(float negative) const {
  const std::size_t step = step_of(negative);
  const std::size_t first = first_[step], last = first_[step + 1];
  const std::uint64_t all = at_most_.back();
  if (first == last)
    return 2 * (all - at_most_[first]);  // so it is with most: the table is finer than the scores
  const auto begin = distinct_.begin();
  const std::size_t i = std::lower_bound(begin + first, begin + last, negative) - begin;
  const std::uint64_t below = at_most_[i];
  const std::uint64_t up_to = i < last && distinct_[i] == negative ? at_most_[i + 1] : below;
  return 2 * all - below - up_to;
}

std::optional<double> area_under_roc(std::span<const float> positives, std::span<const float> negatives) {
  if (positives.empty() || negatives.empty()) return std::nullopt;
  const SortedPositives sorted({positives.begin(), positives.end()});
  std::uint64_t twice = 0;
  for (const float negative : negatives) twice += sorted.twice_wins(negative);
  return static_cast<double>(twice) / 2 / static_cast<double>(positives.size()) /
         static_cast<double>(negatives.size());
}

RocAreas roc_areas(const Scorer& scorer, const JudgedDocuments& given, Communicator& communicator) {
  check(scorer, given);
  const JudgedDocuments judged = normalised(given);
  const JudgedScores scores = judged_scores(scorer, judged, communicator);
  std::vector<float> mine;
  std::vector<SortedPositives> own;
  for (const std::vector<float>& positives : scores.relevant) {
    mine.insert(mine.end(), positives.begin(), positives.end());
    own.emplace_back(positives);
  }
  const std::vector<float> positives = gather_scores(mine, communicator);
  const std::vector<float> nonrelevant = gather_scores(scores.nonrelevant, communicator);
  const auto skipped = not_negative(judged);
  const Wins wins = count_wins(scorer, SortedPositives(positives), own, skipped, communicator);
  RocAreas areas = areas_of(wins, skipped, judged, scorer.documents(), communicator);
  areas.judged = area_under_roc(positives, nonrelevant);
  return areas;
}

}  // namespace toller
