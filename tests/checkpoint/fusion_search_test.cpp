#include "checkpoint/fusion_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "checkpoint/checkpoint.h"
#include "error.h"
#include "fusion_fixture.h"
#include "temporary_folder.h"

namespace toller {
namespace {

/// A base at 0 and three checkpoints whose parameters are one number each; a model is the better, the nearer
/// its mean is to a target.
class FusionSearches : public testing::Test {
 protected:
  FusionSearches() {
    const EncoderConfig encoder = fixture_encoder();
    const ParameterTable table(encoder);
    CheckpointMeta meta;
    meta.encoder = encoder;
    for (const auto& [name, value] :
         {std::pair{"base.h5", 0.0}, {"low.h5", 1.0}, {"far.h5", 9.0}, {"high.h5", 2.5}}) {
      const std::vector<double> values(static_cast<std::size_t>(table.size()), value);
      write_checkpoint<double>(folder / name, meta, table, values, {}, {});
    }
    task.checkpoints = {folder / "low.h5", folder / "far.h5", folder / "high.h5"};
    task.base = folder / "base.h5";
    task.out = folder / "out.h5";
    task.metric = "nearness";
    task.measure = [this](const std::filesystem::path& path) {
      return Measures{{"other", 1.0}, {"nearness", -std::abs(value_of(path) - target)}};
    };
  }

  static EncoderConfig fixture_encoder() {
    return read_fusion_fixture(std::filesystem::path(TOLLER_SOURCE_DIR) /
                               "tests/checkpoint/fixtures/fusion.json")
        .encoder;
  }
  static double value_of(const std::filesystem::path& path) {
    const CheckpointReader reader(path);
    std::vector<double> values(static_cast<std::size_t>(reader.table().size()));
    reader.read_parameters(std::span(values));
    return values.front();
  }
  FusionSearch search(const std::vector<std::string>& methods, const std::set<std::string>& given = {}) {
    task.methods = methods;
    task.given = given;
    task.options = {};
    if (given.contains("weights")) task.options.weights.assign(task.checkpoints.size(), 1.0);
    return search_fusions(task, alone);
  }

  TemporaryFolder folder;
  SelfCommunicator alone;
  FusionSearchTask task;
  double target = 2;
};

TEST_F(FusionSearches, GreedySoupKeepsWhatDoesNotHarm) {
  const FusionSearch found = search({kGreedySoup});
  ASSERT_EQ(found.ingredients.size(), 3U);
  EXPECT_EQ(found.ingredients[1].score, -7);
  // 2.5 first (0.5 away), with 1 it is 1.75 (0.25 away), with 9 as well farther.
  ASSERT_EQ(found.fusions.size(), 3U);
  EXPECT_EQ(found.fusions[0].members, (std::vector<std::size_t>{2}));
  EXPECT_EQ(found.fusions[1].members, (std::vector<std::size_t>{2, 0}));
  EXPECT_EQ(found.fusions[2].members, (std::vector<std::size_t>{2, 0, 1}));
  EXPECT_EQ(found.best, 1U);
  EXPECT_EQ(value_of(task.out), 1.75);
  EXPECT_EQ(folder.entries().size(), 5U) << "the trial's file is still there";
}

TEST_F(FusionSearches, GreedySoupKeepsWhatMakesNoDifference) {
  task.measure = [](const std::filesystem::path&) { return Measures{{"nearness", 0.5}}; };
  const FusionSearch found = search({kGreedySoup});
  EXPECT_EQ(found.fusions[found.best].members, (std::vector<std::size_t>{0, 1, 2}));
}

TEST_F(FusionSearches, SweepTriesTheGridThenWeights) {
  const FusionSearch found = search({"delta-guided"});
  // Soup and grid come first; on these checkpoints smaller exponents are nearer to the target, the soup
  // nearest.
  EXPECT_EQ(found.fusions[0].options.method, FusionMethod::kSoup);
  EXPECT_EQ(found.fusions[1].options.granularity, FusionGranularity::kElement);
  EXPECT_EQ(found.fusions[1].options.alpha, 0.5);
  EXPECT_EQ(found.fusions[16].options.granularity, FusionGranularity::kLayer);
  EXPECT_EQ(found.fusions[16].options.alpha, 4);
  EXPECT_GT(found.fusions.size(), 17U);
  // At alpha 0.5, weights 2,1,1 give 5.01; 2,0.5,1 3.83; 2,0.5,2 3.51; 4,0.5,2 2.93; 4,0.25,2 2.36;
  // 4,0.25,1 2.32.
  const FusionTrial& best = found.fusions[found.best];
  EXPECT_EQ(best.options.method, FusionMethod::kDeltaGuided);
  EXPECT_EQ(best.options.alpha, 0.5);
  EXPECT_EQ(best.options.weights, (std::vector<double>{4, 0.25, 1}));
  for (const FusionTrial& trial : found.fusions) EXPECT_LE(trial.score, best.score);
  EXPECT_NEAR(-std::abs(value_of(task.out) - target), best.score, 1e-12);
}

TEST_F(FusionSearches, SweepLeavesWhatIsGiven) {
  EXPECT_EQ(search({"delta-guided"}, {"weights"}).fusions.size(), 17U);
  EXPECT_EQ(search({"delta-guided"}, {"weights", "alpha"}).fusions.size(), 5U);
  EXPECT_EQ(search({"ties"}, {"weights", "lambda"}).fusions.size(), 5U);
  EXPECT_EQ(search({"dare"}, {"weights"}).fusions.size(), 10U);
  EXPECT_EQ(search({"task-arithmetic"}, {"weights"}).fusions.size(), 6U);
  EXPECT_EQ(search({"soup"}, {"weights"}).fusions.size(), 1U);
}

TEST_F(FusionSearches, SlerpIsOfTheTwoBest) {
  const FusionSearch found = search({"slerp"});
  ASSERT_EQ(found.fusions.size(), 6U);
  EXPECT_EQ(found.fusions[0].members.size(), 3U) << "the soup";
  for (std::size_t i = 1; i < 6; ++i) {
    EXPECT_EQ(found.fusions[i].members, (std::vector<std::size_t>{0, 2}));
  }
}

TEST_F(FusionSearches, EveryMethodHasItsTrials) {
  task.order = FusionSearchOrder::kCoordinates;
  task.most_trials = 4;
  const FusionSearch found = search({"ties", "soup", "greedy-soup", "slerp", "dare"});
  std::map<std::string, int> trials;
  for (const FusionTrial& trial : found.fusions) ++trials[trial.method];
  EXPECT_EQ(trials, (std::map<std::string, int>{
                        {"ties", 4}, {"soup", 4}, {"greedy-soup", 3}, {"slerp", 4}, {"dare", 4}}));
}

TEST_F(FusionSearches, CoordinatesGoFromTheDefaultOneSettingAfterTheOther) {
  task.order = FusionSearchOrder::kCoordinates;
  const FusionSearch found = search({"ties"}, {"weights"});
  std::vector<std::pair<double, double>> tried;
  for (const FusionTrial& trial : found.fusions) {
    if (trial.method == "ties") tried.emplace_back(trial.options.density, trial.options.scale);
  }
  // All deltas of a checkpoint are equal, so every density keeps all; the means are 4.17, 2.08 and 6.25.
  EXPECT_EQ(tried, (std::vector<std::pair<double, double>>{
                       {0.2, 1}, {0.1, 1}, {0.5, 1}, {1, 1}, {0.2, 0.5}, {0.2, 1.5}}));
  EXPECT_EQ(found.fusions[found.best].options.scale, 0.5);
}

TEST_F(FusionSearches, TaskArithmeticGoesTowardsTheTarget) {
  target = 4.16 * 0.5;
  const FusionSearch found = search({"task-arithmetic"}, {"weights"});
  EXPECT_EQ(found.fusions[found.best].options.scale, 0.5);
}

TEST_F(FusionSearches, WrongUse) {
  task.metric = "ndcg";
  EXPECT_EQ(message_of<UsageError>([&] { search({kGreedySoup}); }),
            "--metric 'ndcg' is unknown; choose other, nearness");
  task.base.clear();
  EXPECT_NE(message_of<UsageError>([&] { search({"ties"}); }).find("needs a base"), std::string::npos);
  EXPECT_EQ(folder.entries().size(), 4U);
}

}  // namespace
}  // namespace toller
