// Shards of the flat buffer: every element belongs to one rank, pieces are nearly equal and end between rows.
#include <gtest/gtest.h>

#include <algorithm>

#include "error.h"
#include "model/parameter_shards.h"

namespace toller {
namespace {

ParameterTable small_table() {
  EncoderConfig config = preset_config("tiny");
  config.vocabulary_size = 100;
  return ParameterTable(config);
}

std::vector<std::int64_t> two_buckets(const ParameterTable& table) {
  return {0, table.at("encoder.layer.1.attention.self.query.weight").offset, table.size()};
}

class Shards : public testing::TestWithParam<int> {
 protected:
  ParameterTable table_ = small_table();
  ParameterShards shards_{table_, two_buckets(table_), GetParam()};
};

TEST_P(Shards, CoverEveryElementOnce) {
  std::vector<int> owners(static_cast<std::size_t>(table_.size()), 0);
  for (int rank = 0; rank < GetParam(); ++rank) {
    std::int64_t place = 0;
    for (const ParameterPiece& piece : shards_.pieces(rank)) {
      EXPECT_EQ(piece.place, place);
      place += piece.size;
      for (std::int64_t i = 0; i < piece.size; ++i) ++owners[static_cast<std::size_t>(piece.offset + i)];
    }
    EXPECT_EQ(shards_.elements(rank), place);
  }
  EXPECT_TRUE(std::ranges::all_of(owners, [](int count) { return count == 1; }));
}

TEST_P(Shards, FollowOneAnotherInABucket) {
  for (std::size_t bucket = 0; bucket < 2; ++bucket) {
    std::int64_t at = shards_.bounds()[bucket];
    for (int rank = 0; rank < GetParam(); ++rank) {
      EXPECT_EQ(shards_.pieces(rank)[bucket].offset, at);
      EXPECT_EQ(shards_.counts(bucket)[static_cast<std::size_t>(rank)], shards_.pieces(rank)[bucket].size);
      at += shards_.pieces(rank)[bucket].size;
    }
    EXPECT_EQ(at, shards_.bounds()[bucket + 1]);
  }
}

TEST_P(Shards, AreNearlyEqual) {
  for (std::size_t bucket = 0; bucket < 2; ++bucket) {
    const std::int64_t size = shards_.bounds()[bucket + 1] - shards_.bounds()[bucket];
    for (const std::int64_t count : shards_.counts(bucket)) {
      EXPECT_NEAR(static_cast<double>(count), static_cast<double>(size) / GetParam(), 2 * 512);
    }
  }
}

TEST_P(Shards, PartsOfTensorsAreWholeRows) {
  std::vector<std::int64_t> found(table_.tensors().size(), 0);
  for (int rank = 0; rank < GetParam(); ++rank) {
    for (const TensorPiece& piece : shards_.tensor_pieces(rank)) {
      const TensorView& tensor = table_.tensors()[piece.tensor];
      EXPECT_EQ(piece.first, found[piece.tensor]) << tensor.name;
      found[piece.tensor] += piece.size;
      const std::int64_t row = tensor.shape.size() < 2 ? tensor.size : tensor.shape[1];
      EXPECT_EQ(piece.first % row, 0) << tensor.name;
      EXPECT_EQ(piece.size % row, 0) << tensor.name;
    }
  }
  for (std::size_t index = 0; index < found.size(); ++index) {
    EXPECT_EQ(found[index], table_.tensors()[index].size) << table_.tensors()[index].name;
  }
}

INSTANTIATE_TEST_SUITE_P(Ranks, Shards, testing::Values(1, 2, 3, 4, 7));

TEST(ParameterShards, ThereMayBeMoreRanksThanRows) {
  const ParameterTable table = small_table();
  const ParameterShards shards(table, {0, table.size()}, 5000);
  std::int64_t total = 0;
  for (int rank = 0; rank < 5000; ++rank) total += shards.elements(rank);
  EXPECT_EQ(total, table.size());
}

TEST(ParameterShards, RefusesBoundsInsideATensor) {
  const ParameterTable table = small_table();
  EXPECT_THROW(ParameterShards(table, {0, 128, table.size()}, 2), Error);
  EXPECT_THROW(ParameterShards(table, {0, table.size() - 1}, 2), Error);
  EXPECT_THROW(ParameterShards(table, {0, 0, table.size()}, 2), Error);
}

}  // namespace
}  // namespace toller
