#include "eval/exact_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <mutex>

#include "comm/thread_communicator.h"
#include "error.h"
#include "random_embeddings.h"

namespace toller {
namespace {

constexpr std::int64_t kQueries = 150;      // three query blocks, the last one short
constexpr std::int64_t kDocuments = 9'000;  // two document blocks
constexpr std::int64_t kDimension = 4;

class ExactSearch : public ::testing::Test {
 protected:
  ExactSearch() {
    for (std::int64_t query = 0; query < kQueries; ++query) {
      excluded_.push_back(query % 3 == 0 ? -1 : static_cast<std::int32_t>(query * 7));
    }
  }

  /// Sorts all documents of a query.
  std::vector<Hit> reference(std::int64_t query, std::int64_t k) const {
    std::vector<Hit> all;
    for (std::int32_t document = 0; document < kDocuments; ++document) {
      if (document == excluded_[query]) continue;
      all.push_back({document, inner_product(queries_, query, documents_, document, kDimension)});
    }
    std::ranges::stable_sort(all, std::ranges::greater(), &Hit::score);
    if (std::ssize(all) > k) all.resize(k);
    return all;
  }

  void expect_right(const SearchHits& hits, std::int64_t k) const {
    ASSERT_EQ(hits.size(), kQueries);
    for (std::int64_t query = 0; query < kQueries; ++query) {
      const std::vector<Hit> expected = reference(query, k);
      ASSERT_EQ(hits[query].size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        ASSERT_EQ(hits[query][i].document, expected[i].document) << "query " << query << " hit " << i;
        ASSERT_EQ(hits[query][i].score, expected[i].score);
      }
    }
  }

  std::vector<float> queries_ = random_embeddings(kQueries, kDimension, 1);
  std::vector<float> documents_ = random_embeddings(kDocuments, kDimension, 2);
  std::vector<std::int32_t> excluded_;
};

TEST_F(ExactSearch, EqualsASortOfAllDocuments) {
  const DenseScorer scorer(queries_, documents_, kDimension);
  SelfCommunicator alone;
  for (const std::int64_t k : {1, 7, 1000}) expect_right(exact_search(scorer, k, excluded_, alone), k);
}

TEST_F(ExactSearch, GivesAllDocumentsWhenThereAreFewerThanK) {
  const DenseScorer scorer(queries_, std::span(documents_).first(3 * kDimension), kDimension);
  SelfCommunicator alone;
  const SearchHits hits = exact_search(scorer, 10, {}, alone);
  for (const auto& list : hits) EXPECT_EQ(list.size(), 3);
}

TEST_F(ExactSearch, RanksShareTheQueriesAndAllGetAllHits) {
  for (const int ranks : {2, 4}) {  // with 4 one rank has no query block
    run_ranks(ranks, [&](Communicator& communicator) {
      const DenseScorer scorer(queries_, documents_, kDimension);
      const SearchHits hits = exact_search(scorer, 20, excluded_, communicator);
      static std::mutex mutex;  // GoogleTest's checks, one rank at a time
      const std::lock_guard lock(mutex);
      expect_right(hits, 20);
    });
  }
}

TEST_F(ExactSearch, RefusesWhatIsNotFinite) {
  documents_[5 * kDimension + 1] = std::numeric_limits<float>::quiet_NaN();
  try {
    const DenseScorer scorer(queries_, documents_, kDimension);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("document row 5"), std::string::npos) << error.what();
  }
}

TEST_F(ExactSearch, RefusesWrongSizes) {
  SelfCommunicator alone;
  const DenseScorer scorer(queries_, documents_, kDimension);
  EXPECT_THROW(exact_search(scorer, 0, {}, alone), Error);
  EXPECT_THROW(exact_search(scorer, 1, std::span(excluded_).first(3), alone), Error);
  EXPECT_THROW(DenseScorer(std::span(queries_).first(5), documents_, kDimension), Error);
}

}  // namespace
}  // namespace toller
