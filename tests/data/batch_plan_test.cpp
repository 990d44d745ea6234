// Batches: every query once an epoch, the right documents, and the masks.
#include "data/batch_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "data/synthetic_store.h"
#include "error.h"

namespace toller {
namespace {

std::int32_t grade_of(const Split& split, std::int64_t row, std::int32_t document) {
  for (std::int64_t j = split.offsets[row]; j < split.offsets[row + 1]; ++j) {
    if (split.document[j] == document) return split.grade[j];
  }
  return -1;
}

TEST(BatchPlan, AnEpochVisitsEveryQueryOnce) {
  const TokenStore store = synthetic_store();
  BatchPlan plan(store, store.split("train"), {.seed = 5, .global_batch = 16});
  ASSERT_EQ(plan.steps_per_epoch(), 3);  // 16 + 16 + 8
  std::multiset<std::int32_t> first, second;
  std::vector<std::int32_t> order;
  for (std::int64_t index = 0; index < 6; ++index) {
    const GlobalBatch batch = plan.batch(index);
    EXPECT_EQ(batch.size(), index % 3 == 2 ? 8 : 16);
    (index < 3 ? first : second).insert(batch.queries.begin(), batch.queries.end());
    order.insert(order.end(), batch.queries.begin(), batch.queries.end());
  }
  EXPECT_EQ(first.size(), 40u);
  EXPECT_EQ(std::set<std::int32_t>(first.begin(), first.end()).size(), 40u);
  EXPECT_EQ(first, second);
  EXPECT_FALSE(std::equal(order.begin(), order.begin() + 40, order.begin() + 40)) << "epochs differ in order";
}

TEST(BatchPlan, ABatchDependsOnSeedAndIndexAlone) {
  const TokenStore store = synthetic_store();
  const BatchPlanOptions options{.seed = 5, .global_batch = 16, .positives = 2, .hard_negatives = 1};
  BatchPlan forward(store, store.split("train"), options), backward(store, store.split("train"), options);
  std::map<std::int64_t, GlobalBatch> batches;
  for (std::int64_t index = 0; index < 6; ++index) batches[index] = forward.batch(index);
  for (std::int64_t index = 5; index >= 0; --index) {
    const GlobalBatch batch = backward.batch(index);
    EXPECT_EQ(batch.queries, batches[index].queries);
    EXPECT_EQ(batch.documents, batches[index].documents);
  }
  BatchPlan other(store, store.split("train"), {.seed = 6, .global_batch = 16});
  EXPECT_NE(other.batch(0).queries, batches[0].queries);
}

TEST(BatchPlan, DocumentsArePositivesThenHardNegatives) {
  const TokenStore store = synthetic_store();
  const Split& split = store.split("train");
  BatchPlan plan(store, split, {.seed = 1, .global_batch = 10, .positives = 5, .hard_negatives = 3});
  const GlobalBatch batch = plan.batch(0);
  for (std::int64_t i = 0; i < batch.size(); ++i) {
    const std::int64_t first = batch.document_offsets[i], last = batch.document_offsets[i + 1];
    EXPECT_EQ(batch.positives[i], 2) << "the query has two relevant documents, fewer than asked for";
    EXPECT_EQ(last - first, 2 + 3);
    for (std::int64_t j = first; j < last; ++j) {
      const std::int32_t grade = grade_of(split, batch.split_rows[i], batch.documents[j]);
      EXPECT_TRUE(j - first < batch.positives[i] ? grade > 0 : grade == 0);
    }
  }
}

TEST(BatchPlan, PositivesFollowTheGain) {
  // Grades 2 and 1 have gains 3 and 1: the first is drawn three times out of four.
  const TokenStore store = synthetic_store();
  const Split& split = store.split("train");
  BatchPlan plan(store, split, {.seed = 1, .global_batch = 40});
  int high = 0, total = 0;
  for (std::int64_t epoch = 0; epoch < 100; ++epoch) {
    const GlobalBatch batch = plan.batch(epoch);
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      high += grade_of(split, batch.split_rows[i], batch.documents[i]) == 2;
      ++total;
    }
  }
  EXPECT_NEAR(static_cast<double>(high) / total, 0.75, 0.035);  // 5 standard deviations of 4,000 draws
}

/// How often each grade was drawn as a query's only positive and only hard negative in 100 epochs.
std::map<std::int32_t, int> grades_drawn(const TokenStore& store, DocumentSampling sampling) {
  const Split& split = store.split("train");
  BatchPlan plan(store, split,
                 {.seed = 1, .global_batch = 40, .positives = 1, .hard_negatives = 1, .sampling = sampling});
  std::map<std::int32_t, int> drawn;
  for (std::int64_t epoch = 0; epoch < 100; ++epoch) {
    const GlobalBatch batch = plan.batch(epoch);
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      for (std::int64_t j = batch.document_offsets[i]; j < batch.document_offsets[i + 1]; ++j) {
        ++drawn[grade_of(split, batch.split_rows[i], batch.documents[j])];
      }
    }
  }
  return drawn;
}

// Grades of a query: 2, 1, 0, −1, −1, −1; 4,000 draws of each kind, bounds of 5 standard deviations.
TEST(BatchPlan, SamplingPoliciesDifferInTheGradesDrawn) {
  TokenStore store = synthetic_store();
  for (std::size_t j = 0; j < store.splits["train"].grade.size(); ++j) {
    if (j % 6 > 2) store.splits["train"].grade[j] = -1;
  }
  auto by_grade = grades_drawn(store, DocumentSampling::kGrade);
  EXPECT_NEAR(by_grade[2], 3000, 140);
  EXPECT_NEAR(by_grade[0], 1000, 140);
  auto random = grades_drawn(store, DocumentSampling::kRandom);
  EXPECT_NEAR(random[2], 2000, 160);
  EXPECT_NEAR(random[0], 1000, 140);
  auto hard_first = grades_drawn(store, DocumentSampling::kHardFirst);
  EXPECT_EQ(hard_first[2], 0);
  EXPECT_EQ(hard_first[1], 4000);
  EXPECT_EQ(hard_first[0], 4000);
  EXPECT_EQ(hard_first[-1], 0);
}

TEST(BatchPlan, HardFirstDrawsAmongEquals) {
  const TokenStore store = synthetic_store();
  BatchPlan plan(store, store.split("train"),
                 {.global_batch = 40, .hard_negatives = 1, .sampling = DocumentSampling::kHardFirst});
  std::map<std::int32_t, std::set<std::int32_t>> negatives;  // by query
  for (std::int64_t epoch = 0; epoch < 50; ++epoch) {
    const GlobalBatch batch = plan.batch(epoch);
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      negatives[batch.queries[i]].insert(batch.documents[batch.document_offsets[i] + 1]);
    }
  }
  for (const auto& [query, drawn] : negatives) EXPECT_EQ(drawn.size(), 4u) << "of query " << query;
}

TEST(BatchPlan, OwnDocumentsCarryTheirGrades) {
  TokenStore store = synthetic_store();
  Split& split = store.splits["train"];
  // The first query's own document is judged, the last judgement of each query is below 0.
  store.same_document[split.query[0]] = split.document[split.offsets[0]];
  for (std::int64_t row = 0; row < split.size(); ++row) split.grade[split.offsets[row + 1] - 1] = -1;
  BatchPlan plan(store, split, {.seed = 3, .global_batch = 40, .positives = 2, .hard_negatives = 4});
  const GlobalBatch batch = plan.batch(0);
  ASSERT_EQ(batch.grades.size(), batch.documents.size());
  int left_out = 0;
  for (const BatchShare share : {BatchShare{0, 40}, {0, 13}, {13, 13}, {13, 40}}) {
    const CandidateRelations relations = plan.relations(batch, share);
    EXPECT_EQ(relations.own_offsets,
              std::vector<std::int64_t>(batch.document_offsets.begin() + share.first,
                                        batch.document_offsets.begin() + share.last + 1));
    ASSERT_EQ(static_cast<std::int64_t>(relations.own_grade.size()),
              relations.own_offsets.back() - relations.own_offsets.front());
    for (std::int64_t i = share.first; i < share.last; ++i) {
      for (std::int64_t column = batch.document_offsets[i]; column < batch.document_offsets[i + 1];
           ++column) {
        const bool itself = store.same_document[batch.queries[i]] == batch.documents[column];
        const std::int32_t grade = grade_of(split, batch.split_rows[i], batch.documents[column]);
        EXPECT_EQ(relations.own_grade[column - relations.own_offsets[0]], itself ? -1 : std::max(grade, 0));
        left_out += itself;
      }
    }
  }
  EXPECT_GT(left_out, 0);
}

TEST(BatchPlan, RelationsMatchTheJudgements) {
  const TokenStore store = synthetic_store();
  const Split& split = store.split("train");
  BatchPlan plan(store, split, {.seed = 3, .global_batch = 20, .positives = 1, .hard_negatives = 2});
  const GlobalBatch batch = plan.batch(0);
  const BatchShare share{4, 15};
  const CandidateRelations relations = plan.relations(batch, share);
  std::int64_t excluded_in_all = 0;
  for (std::int64_t i = share.first; i < share.last; ++i) {
    const std::int64_t local = i - share.first;
    for (std::int64_t column = 0; column < batch.document_offsets.back(); ++column) {
      const std::int32_t document = batch.documents[column];
      const bool own_positive =
          column >= batch.document_offsets[i] && column < batch.document_offsets[i] + batch.positives[i];
      const bool relevant = grade_of(split, batch.split_rows[i], document) > 0;
      const bool itself = store.same_document[batch.queries[i]] == document;
      const auto listed = [&](const std::vector<std::int64_t>& offsets,
                              const std::vector<std::int32_t>& columns) {
        return std::binary_search(columns.begin() + offsets[local], columns.begin() + offsets[local + 1],
                                  column);
      };
      EXPECT_EQ(listed(relations.positive_offsets, relations.positive), own_positive);
      EXPECT_EQ(listed(relations.excluded_offsets, relations.excluded),
                !own_positive && (relevant || itself));
      excluded_in_all += !own_positive && (relevant || itself);
    }
  }
  EXPECT_GT(excluded_in_all, 0) << "a batch without collisions shows nothing";
}

TEST(BatchPlan, ScoresFollowTheirDocuments) {
  TokenStore store = synthetic_store();
  Split& split = store.splits.at("train");
  for (std::size_t j = 0; j < split.document.size(); ++j) split.score.push_back(static_cast<float>(j));
  BatchPlan plan(store, split, {.seed = 3, .global_batch = 20, .positives = 2, .hard_negatives = 2});
  const GlobalBatch batch = plan.batch(1);
  ASSERT_EQ(batch.scores.size(), batch.documents.size());
  for (std::size_t j = 0; j < batch.documents.size(); ++j) {
    EXPECT_EQ(batch.documents[j], split.document[static_cast<std::size_t>(batch.scores[j])]);
  }
  const CandidateRelations relations = plan.relations(batch, {5, 9});
  ASSERT_EQ(relations.own_score.size(), relations.own_grade.size());
  EXPECT_EQ(relations.own_score[0], batch.scores[batch.document_offsets[5]]);
}

/// Two texts are a pair twice, with different scores, and a first sentence has several seconds.
TEST(BatchPlan, EveryScoredPairComesOnceAnEpoch) {
  TokenStore store = synthetic_store();
  store.task = Task::kSimilarity;
  std::ranges::fill(store.same_document, -1);
  Split& split = store.splits.at("train");
  split.query = {3, 7, 8};
  split.offsets = {0, 1, 4, 5};
  split.document = {9, 4, 4, 2, 9};
  split.grade = {0, 0, 0, 0, 0};
  split.score = {0.5f, 1, 2, 3, 4};
  BatchPlan plan(store, split, {.seed = 3, .global_batch = 2});
  EXPECT_EQ(plan.queries(), 5);
  ASSERT_EQ(plan.steps_per_epoch(), 3);
  std::set<float> scores;
  for (std::int64_t index = 0; index < 3; ++index) {
    const GlobalBatch batch = plan.batch(index);
    const CandidateRelations relations = plan.relations(batch, {0, batch.size()});
    EXPECT_TRUE(relations.positive.empty());
    EXPECT_TRUE(relations.excluded.empty());
    EXPECT_EQ(relations.own_score, batch.scores);
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      ASSERT_EQ(batch.document_offsets[i + 1] - batch.document_offsets[i], 1);
      const auto place = std::ranges::find(split.score, batch.scores[i]) - split.score.begin();
      EXPECT_EQ(batch.documents[i], split.document[place]);
      EXPECT_EQ(batch.queries[i], place == 0 ? 3 : place == 4 ? 8 : 7);
      scores.insert(batch.scores[i]);
    }
  }
  EXPECT_EQ(scores.size(), 5u);
}

TEST(BatchPlan, SharesTileTheBatch) {
  for (std::int64_t size : {0, 1, 3, 16, 17}) {
    std::int64_t next = 0;
    for (int rank = 0; rank < 5; ++rank) {
      const BatchShare share = batch_share(size, rank, 5);
      EXPECT_EQ(share.first, next);
      EXPECT_LE(share.last - share.first, (size + 4) / 5);
      next = share.last;
    }
    EXPECT_EQ(next, size);
  }
}

TEST(BatchPlan, RefusesASplitWithoutRelevantDocuments) {
  TokenStore store = synthetic_store();
  for (std::int32_t& grade : store.splits["train"].grade) grade = 0;
  EXPECT_THROW(BatchPlan(store, store.split("train"), {}), Error);
}

}  // namespace
}  // namespace toller
