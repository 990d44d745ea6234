#include "eval/bm25.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <sstream>

#include "error.h"
#include "eval/exact_search.h"
#include "eval/text_analyzer.h"

namespace toller {
namespace {

std::vector<std::string> terms(const std::string& text) {
  return TextAnalyzer().terms(text);
}

TEST(TextAnalyzer, BreaksWordsFoldsCaseAndDropsPunctuation) {
  EXPECT_EQ(terms("The cat, the CAT's 3.5 ... -- (hat)!"),
            (std::vector<std::string>{"the", "cat", "the", "cat's", "3.5", "hat"}));
  EXPECT_EQ(terms("STRASSE Straße ΣΑΣ"), (std::vector<std::string>{"strasse", "strasse", "σασ"}));
  EXPECT_TRUE(terms(" \t—… !").empty());
  EXPECT_TRUE(terms("").empty());
}

TEST(Bm25, ByHand) {
  // Three documents of lengths 4, 2 and 3: mean 3. k1 = 1, b = 0.5: norm = 0.5 + 0.5 · length / 3.
  //   d0 "a a b c"  norm 7/6      d1 "a d"  norm 5/6      d2 "c c c"  norm 1
  // idf = ln(1 + (3 − df + 0.5)/(df + 0.5)): a and c (df 2) ln 1.6 = 0.470004, d (df 1) ln(8/3) = 0.980829.
  const std::vector<std::string> documents{"a a b c", "A d.", "c c c"};
  const std::vector<std::string> queries{"a d", "c c", "x"};
  const Bm25Index index(documents, {.k1 = 1, .b = 0.5});
  const Bm25Scorer scorer(index, queries);
  std::vector<float> scores(9);
  scorer.score({0, 3}, {0, 3}, scores);
  EXPECT_NEAR(scores[0], 0.470004 * 2 / (2 + 7.0 / 6), 1e-6);
  EXPECT_NEAR(scores[1], (0.470004 + 0.980829) / (1 + 5.0 / 6), 1e-6);
  EXPECT_EQ(scores[2], 0);
  EXPECT_NEAR(scores[3], 2 * 0.470004 / (1 + 7.0 / 6), 1e-6);  // the query has c twice
  EXPECT_EQ(scores[4], 0);
  EXPECT_NEAR(scores[5], 2 * 0.470004 * 3 / (3 + 1), 1e-6);
  for (int i = 6; i < 9; ++i) EXPECT_EQ(scores[i], 0);

  SelfCommunicator alone;
  const SearchHits hits = exact_search(scorer, 10, {}, alone);
  ASSERT_EQ(hits[0].size(), 2);  // no hits without a common term
  EXPECT_EQ(hits[0][0].document, 1);
  EXPECT_EQ(hits[0][1].document, 0);
  EXPECT_TRUE(hits[2].empty());
}

/// Texts of `words` words with a skewed choice among 200.
std::vector<std::string> random_texts(int count, int words, std::mt19937& generator) {
  std::geometric_distribution<int> word(0.05);
  std::vector<std::string> texts(count);
  for (std::string& text : texts) {
    const int length = std::uniform_int_distribution<int>(1, words)(generator);
    for (int i = 0; i < length; ++i) text += fmt::format("w{} ", std::min(word(generator), 199));
  }
  return texts;
}

std::vector<std::string> split(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

TEST(Bm25, EqualsTheFormulaOverAllDocuments) {
  std::mt19937 generator(7);
  const std::vector<std::string> documents = random_texts(9'000, 20, generator);
  const std::vector<std::string> queries = random_texts(5, 6, generator);
  const Bm25Index index(documents, {.k1 = 1.2, .b = 0.75});
  const Bm25Scorer scorer(index, queries);

  std::vector<std::vector<std::string>> words;
  double mean_length = 0;
  for (const std::string& document : documents) {
    words.push_back(split(document));
    mean_length += static_cast<double>(words.back().size()) / static_cast<double>(documents.size());
  }
  const RowRange range{4'000, 8'900};  // a block in the middle
  std::vector<float> scores(queries.size() * range.size());
  scorer.score({0, std::ssize(queries)}, range, scores);
  for (std::size_t query = 0; query < queries.size(); ++query) {
    std::vector<double> expected(documents.size());
    for (const std::string& term : split(queries[query])) {
      std::vector<double> frequency;
      for (const auto& list : words) frequency.push_back(static_cast<double>(std::ranges::count(list, term)));
      const auto df = static_cast<double>(std::ranges::count_if(frequency, [](double tf) { return tf > 0; }));
      const double idf = std::log(1 + (static_cast<double>(documents.size()) - df + 0.5) / (df + 0.5));
      for (std::size_t d = 0; d < documents.size(); ++d) {
        const double norm = 1 - 0.75 + 0.75 * static_cast<double>(words[d].size()) / mean_length;
        if (frequency[d] > 0) expected[d] += idf * frequency[d] / (frequency[d] + 1.2 * norm);
      }
    }
    for (std::int64_t d = range.first; d < range.last; ++d) {
      ASSERT_NEAR(scores[query * range.size() + d - range.first], expected[d], 1e-5 * (1 + expected[d]));
    }
  }
}

TEST(Bm25, RefusesSillyParameters) {
  const std::vector<std::string> documents{"a"};
  EXPECT_THROW(Bm25Index(documents, {.k1 = -1}), UsageError);
  EXPECT_THROW(Bm25Index(documents, {.b = 1.5}), UsageError);
}

}  // namespace
}  // namespace toller
