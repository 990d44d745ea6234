// Embeddings cut to their first numbers.
#include "eval/embedder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

#include "data/synthetic_store.h"
#include "error.h"
#include "model/random_encoder.h"

namespace toller {
namespace {

class EmbedderTest : public testing::Test {
 protected:
  EmbedderTest() {
    for (const std::int32_t token : {3, 17, 52, 9, 40, 8, 8, 21}) {
      texts_.append(std::vector<std::int32_t>{2, token, token / 2}, std::to_string(token));
    }
  }

  template <class T>
  std::vector<float> embeddings(bool normalize, std::int64_t kept) {
    EncoderConfig config = small_config();
    config.normalize = normalize;
    const ParameterTable table(config);
    const std::vector<T> parameters = random_parameters<T>(table);
    const auto ops = make_cpu_ops<T>();
    Embedder embedder(config, table, *ops, std::as_const(parameters).data(), kept);
    EXPECT_EQ(embedder.dimension(), kept == 0 ? config.hidden_size : kept);
    std::vector<float> result(texts_.rows() * embedder.dimension());
    embedder.embed_all(texts_, Side::kQueries, alone_, result);
    return result;
  }

  template <class T>
  void expect_cut_rows(bool normalize, std::int64_t kept) {
    const std::int64_t full = small_config().hidden_size;
    const std::vector<float> whole = embeddings<T>(normalize, 0), cut = embeddings<T>(normalize, kept);
    for (std::int64_t i = 0; i < texts_.rows(); ++i) {
      double squares = 0;
      for (std::int64_t j = 0; j < kept; ++j) squares += std::pow(whole[i * full + j], 2);
      const double scale = normalize ? 1 / std::sqrt(squares) : 1;
      for (std::int64_t j = 0; j < kept; ++j) {
        EXPECT_NEAR(cut[i * kept + j], whole[i * full + j] * scale, 1e-6);
      }
    }
  }

  TokenTable texts_;
  SelfCommunicator alone_;
};

TEST_F(EmbedderTest, TheSideChoosesTheTower) {
  EncoderConfig shared = small_config(), separate = small_config();
  separate.separate_towers = true;
  const ParameterTable one(shared), two(separate);
  const std::vector<float> parameters = random_parameters<float>(two);
  const auto ops = make_cpu_ops<float>();
  Embedder both(separate, two, *ops, parameters.data());
  std::vector<float> expected(static_cast<std::size_t>(texts_.rows() * shared.hidden_size)), found = expected;
  for (const auto& [side, first] :
       {std::pair(Side::kQueries, std::int64_t{0}), std::pair(Side::kDocuments, one.size() - 1)}) {
    Embedder alone(shared, one, *ops, parameters.data() + first);
    alone.embed_all(texts_, Side::kQueries, alone_, expected);
    both.embed_all(texts_, side, alone_, found);
    EXPECT_EQ(found, expected);
  }
}

TEST_F(EmbedderTest, KeepsTheFirstNumbersAtUnitLength) {
  for (const std::int64_t kept : {1, 5, 12}) {
    expect_cut_rows<float>(true, kept);
    expect_cut_rows<double>(true, kept);
  }
}

TEST_F(EmbedderTest, OnlyCutsWhereTheModelDoesNotNormalise) {
  expect_cut_rows<float>(false, 5);
}

TEST_F(EmbedderTest, RefusesMoreNumbersThanThereAre) {
  EXPECT_THROW(embeddings<float>(true, 13), UsageError);
  EXPECT_THROW(embeddings<float>(true, -1), UsageError);
}

}  // namespace
}  // namespace toller
