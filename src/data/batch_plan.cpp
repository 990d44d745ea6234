#include "data/batch_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <compare>
#include <cstdlib>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "choice.h"
#include "data/seeded_shuffle.h"
#include "error.h"
#include "random.h"

namespace toller {

DocumentSampling sampling_from_name(const std::string& name) {
  using enum DocumentSampling;
  constexpr std::array<std::pair<DocumentSampling, const char*>, 3> kSamplings = {
      {{kGrade, "grade"}, {kHardFirst, "hard-first"}, {kRandom, "random"}}};
  return value_of_word("--sampling", name, kSamplings);
}

BatchShare batch_share(std::int64_t batch_size, int rank, int ranks) {
  return {batch_size * rank / ranks, batch_size * (rank + 1) / ranks};
}

BatchPlan::BatchPlan(const TokenStore& store, const Split& split, const BatchPlanOptions& options)
    : store_(store), split_(split), options_(options) {
  if (store.task == Task::kSimilarity) {
    rows_.resize(split.document.size());
    std::iota(rows_.begin(), rows_.end(), 0);
    return;
  }
  for (std::int64_t row = 0; row < split.size(); ++row) {
    const auto first = split.grade.begin() + split.offsets[row],
               last = split.grade.begin() + split.offsets[row + 1];
    if (std::any_of(first, last, [](std::int32_t grade) { return grade > 0; })) rows_.push_back(row);
  }
  if (rows_.empty()) {
    fail("{}: split '{}' has no query with a relevant document (grade above 0)", store.path.string(),
         split.name);
  }
}

std::int64_t BatchPlan::steps_per_epoch() const {
  return (queries() + options_.global_batch - 1) / options_.global_batch;
}

void BatchPlan::shuffle(std::int64_t epoch) {
  order_ = rows_;
  seeded_shuffle(order_, options_.seed, RandomStream::kShuffle, epoch);
  epoch_ = epoch;
}

void BatchPlan::sample(std::int64_t split_row, std::int64_t epoch, bool relevant, std::int64_t count,
                       GlobalBatch& batch) const {
  struct Candidate {
    std::int64_t border;  ///< distance of the grade from the border of relevance, where that matters
    double lot;
    std::int64_t judgement;
    auto operator<=>(const Candidate&) const = default;
  };
  std::vector<Candidate> candidates;
  for (std::int64_t j = split_.offsets[split_row]; j < split_.offsets[split_row + 1]; ++j) {
    const std::int32_t grade = split_.grade[j];
    if ((grade > 0) != relevant) continue;
    // The items with the smallest −log(u)/weight are a weighted sample without replacement (Efraimidis &
    // Spirakis, 2006).
    const bool by_grade = relevant && options_.sampling == DocumentSampling::kGrade;
    const double weight = by_grade ? std::exp2(std::min(grade, 60)) - 1 : 1;
    const PhiloxBlock bits = random_block(options_.seed, RandomStream::kSampleDocument,
                                          static_cast<std::uint64_t>(j), static_cast<std::uint32_t>(epoch));
    const bool hard_first = options_.sampling == DocumentSampling::kHardFirst;
    candidates.push_back(
        {hard_first ? std::abs(std::int64_t{grade}) : 0, -std::log(uniform_open(bits[0])) / weight, j});
  }
  const auto taken = std::min<std::size_t>(static_cast<std::size_t>(count), candidates.size());
  std::partial_sort(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(taken),
                    candidates.end());
  for (std::size_t i = 0; i < taken; ++i) add_document(candidates[i].judgement, batch);
}

void BatchPlan::add_document(std::int64_t judgement, GlobalBatch& batch) const {
  batch.documents.push_back(split_.document[judgement]);
  batch.grades.push_back(std::max(split_.grade[judgement], 0));
  if (!split_.score.empty()) batch.scores.push_back(split_.score[judgement]);
}

void BatchPlan::add_query(std::int64_t split_row, std::int64_t epoch, GlobalBatch& batch) const {
  batch.split_rows.push_back(split_row);
  batch.queries.push_back(split_.query[split_row]);
  sample(split_row, epoch, true, options_.positives, batch);
  batch.positives.push_back(static_cast<std::int32_t>(static_cast<std::int64_t>(batch.documents.size()) -
                                                      batch.document_offsets.back()));
  sample(split_row, epoch, false, options_.hard_negatives, batch);
  batch.document_offsets.push_back(static_cast<std::int64_t>(batch.documents.size()));
}

void BatchPlan::add_pair(std::int64_t judgement, GlobalBatch& batch) const {
  const auto row = std::ranges::upper_bound(split_.offsets, judgement) - split_.offsets.begin() - 1;
  batch.split_rows.push_back(row);
  batch.queries.push_back(split_.query[row]);
  batch.positives.push_back(0);
  add_document(judgement, batch);
  batch.document_offsets.push_back(static_cast<std::int64_t>(batch.documents.size()));
}

GlobalBatch BatchPlan::batch(std::int64_t index) {
  const std::int64_t epoch = index / steps_per_epoch();
  if (epoch != epoch_) shuffle(epoch);
  const std::int64_t first = index % steps_per_epoch() * options_.global_batch;
  const std::int64_t last = std::min(first + options_.global_batch, queries());
  GlobalBatch batch;
  for (std::int64_t i = first; i < last; ++i) {
    if (store_.task == Task::kSimilarity) {
      add_pair(order_[i], batch);
    } else {
      add_query(order_[i], epoch, batch);
    }
  }
  return batch;
}

CandidateRelations BatchPlan::relations(const GlobalBatch& batch, const BatchShare& share) const {
  std::unordered_map<std::int32_t, std::vector<std::int32_t>> columns;  // document → where it stands
  for (std::size_t column = 0; column < batch.documents.size(); ++column) {
    columns[batch.documents[column]].push_back(static_cast<std::int32_t>(column));
  }
  CandidateRelations relations;
  for (std::int64_t i = share.first; i < share.last; ++i) {
    const auto positive_first = static_cast<std::int32_t>(batch.document_offsets[i]);
    const std::int32_t positive_last = positive_first + batch.positives[i];
    for (std::int32_t column = positive_first; column < positive_last; ++column) {
      relations.positive.push_back(column);
    }
    relations.positive_offsets.push_back(static_cast<std::int64_t>(relations.positive.size()));

    const auto exclude = [&](std::int32_t document) {
      const auto found = columns.find(document);
      if (found == columns.end()) return;
      for (const std::int32_t column : found->second) {
        if (column < positive_first || column >= positive_last) relations.excluded.push_back(column);
      }
    };
    const auto begin = static_cast<std::ptrdiff_t>(relations.excluded.size());
    const std::int64_t row = batch.split_rows[i];
    for (std::int64_t j = split_.offsets[row]; j < split_.offsets[row + 1]; ++j) {
      if (split_.grade[j] > 0) exclude(split_.document[j]);
    }
    if (const std::int32_t own = store_.same_document[batch.queries[i]]; own >= 0) exclude(own);
    std::sort(relations.excluded.begin() + begin, relations.excluded.end());
    relations.excluded.erase(std::unique(relations.excluded.begin() + begin, relations.excluded.end()),
                             relations.excluded.end());
    relations.excluded_offsets.push_back(static_cast<std::int64_t>(relations.excluded.size()));
  }
  relations.own_offsets.assign(batch.document_offsets.begin() + share.first,
                               batch.document_offsets.begin() + share.last + 1);
  for (std::int64_t i = share.first; i < share.last; ++i) {
    const std::int32_t own = store_.same_document[batch.queries[i]];
    for (std::int64_t column = batch.document_offsets[i]; column < batch.document_offsets[i + 1]; ++column) {
      relations.own_grade.push_back(batch.documents[column] == own ? -1 : batch.grades[column]);
    }
  }
  if (!batch.scores.empty()) {
    relations.own_score.assign(batch.scores.begin() + batch.document_offsets[share.first],
                               batch.scores.begin() + batch.document_offsets[share.last]);
  }
  return relations;
}

}  // namespace toller
