// Which data set a batch comes from: every batch of every data set once an epoch, in the shares that were
// asked for.
#include "data/data_mix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "error.h"

namespace toller {
namespace {

/// Batches that each data set gives in [first, last), in their order.
std::map<std::int64_t, std::vector<std::int64_t>> drawn(DataMix& mix, std::int64_t first, std::int64_t last) {
  std::map<std::int64_t, std::vector<std::int64_t>> batches;
  for (std::int64_t index = first; index < last; ++index) {
    const DataMix::Draw draw = mix.at(index);
    batches[draw.data_set].push_back(draw.index);
  }
  return batches;
}

std::vector<std::int64_t> counting(std::int64_t first, std::int64_t last) {
  std::vector<std::int64_t> numbers;
  for (std::int64_t n = first; n < last; ++n) numbers.push_back(n);
  return numbers;
}

TEST(DataMix, BySizeEveryBatchComesOnceAnEpoch) {
  const std::vector<std::int64_t> sizes{30, 7, 1};
  DataMix mix(sizes, {.seed = 3});
  ASSERT_EQ(mix.batches_per_epoch(), 38);
  for (std::int64_t epoch = 0; epoch < 3; ++epoch) {
    const auto batches = drawn(mix, 38 * epoch, 38 * (epoch + 1));
    for (std::int64_t set = 0; set < 3; ++set) {
      EXPECT_EQ(batches.at(set), counting(sizes[set] * epoch, sizes[set] * (epoch + 1)));
    }
  }
}

TEST(DataMix, TheOrderIsMixedAndDiffersBetweenEpochsAndSeeds) {
  const std::vector<std::int64_t> sizes{20, 20};
  DataMix mix(sizes, {.seed = 3}), other(sizes, {.seed = 4});
  const auto order = [](DataMix& given, std::int64_t first) {
    std::vector<std::int64_t> sets;
    for (std::int64_t index = first; index < first + 40; ++index) sets.push_back(given.at(index).data_set);
    return sets;
  };
  std::set<std::vector<std::int64_t>> orders{order(mix, 0), order(mix, 40), order(other, 0)};
  EXPECT_EQ(orders.size(), 3u);
  const std::vector<std::int64_t> first = order(mix, 0);
  EXPECT_FALSE(std::ranges::is_sorted(first)) << "tasks alternate";
}

TEST(DataMix, ADrawDependsOnSeedAndIndexAlone) {
  const std::vector<std::int64_t> sizes{9, 4, 5};
  DataMix forward(sizes, {.seed = 3, .weights = {1, 3, 1}}),
      backward(sizes, {.seed = 3, .weights = {1, 3, 1}});
  std::vector<DataMix::Draw> draws;
  for (std::int64_t index = 0; index < 60; ++index) draws.push_back(forward.at(index));
  for (std::int64_t index = 59; index >= 0; --index) {
    EXPECT_EQ(backward.at(index).data_set, draws[index].data_set);
    EXPECT_EQ(backward.at(index).index, draws[index].index);
  }
}

TEST(DataMix, WeightsAndPowersOfTheSizeSetTheShares) {
  const std::vector<std::int64_t> sizes{80, 20};
  EXPECT_EQ(DataMix(sizes, {.weights = {1, 3}}).share(1), 75);
  EXPECT_EQ(DataMix(sizes, {.alpha = 0}).share(1), 50);
  EXPECT_EQ(DataMix(sizes, {.alpha = 0.5}).share(1), 33);  // 100 · √20 / (√80 + √20)
  EXPECT_EQ(DataMix(sizes, {.alpha = 1}).share(1), 20);
  EXPECT_EQ(DataMix(sizes, {.weights = {1e9, 1}}).share(1), 1) << "never left out";
}

TEST(DataMix, ADataSetGoesOnWhereItStoppedInTheEpochBefore) {
  const std::vector<std::int64_t> sizes{10, 10};
  DataMix mix(sizes, {.weights = {3, 1}});  // shares 15 and 5
  EXPECT_EQ(drawn(mix, 0, 20).at(1), counting(0, 5));
  EXPECT_EQ(drawn(mix, 20, 40).at(1), counting(5, 10));
  EXPECT_EQ(drawn(mix, 20, 40).at(0), counting(15, 30));
}

TEST(DataMix, RefusesWrongWeights) {
  const std::vector<std::int64_t> sizes{10, 10};
  EXPECT_THROW(DataMix(sizes, {.weights = {1}}), UsageError);
  EXPECT_THROW(DataMix(sizes, {.weights = {1, 0}}), UsageError);
  EXPECT_THROW(DataMix(sizes, {.weights = {1, INFINITY}}), UsageError);
}

}  // namespace
}  // namespace toller
