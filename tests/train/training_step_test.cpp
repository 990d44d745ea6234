// The whole step, from tokens to the gradient of every parameter: central differences in fp64, and the same
// result for any number of ranks and any micro-batch.
#include "train/training_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <numeric>

#include "comm/thread_communicator.h"
#include "data/synthetic_store.h"
#include "device/backend.h"
#include "model/random_encoder.h"
#include "optim/adamw.h"
#include "train/gradient_sums.h"

namespace toller {
namespace {

struct Setting {
  EncoderConfig config = small_config();
  BatchPlanOptions plan{.seed = 7, .global_batch = 12, .positives = 2, .hard_negatives = 1};
  bool symmetric = false;
  bool uniformity = false;  ///< with alignment, in InfoNCE's place: a loss that gathers queries
  std::int64_t micro_batch = 0;
  std::int32_t max_length = 30;  // cuts the longest texts
};

template <class T>
struct Outcome {
  double loss = 0;
  double log_temperature_gradient = 0;
  std::vector<T> gradient;
};

template <class T>
std::unique_ptr<Loss<T>> make_loss(const Setting& setting, const Backend<T>& backend) {
  if (setting.uniformity) {
    return make_alignment_uniformity<T>(*backend.ops, *backend.score_ops,
                                        {.uniformity_weight = 0.5, .tile_columns = 8});
  }
  return make_infonce<T>(*backend.ops, *backend.score_ops,
                         {.symmetric = setting.symmetric, .tile_columns = 8});
}

/// Loss and gradient of one batch, summed over ranks.
template <class T>
Outcome<T> run_rank(const Setting& setting, const TokenStore& store, const std::vector<T>& parameters,
                    std::int64_t index, Communicator& communicator) {
  const Backend<T> backend = make_cpu_backend<T>(communicator);
  const auto loss = make_loss<T>(setting, backend);
  const ParameterTable table(setting.config);
  BatchPlan plan(store, store.split("train"), setting.plan);
  TrainingStep<T> step(
      setting.config, table, *backend.ops, *backend.communicator,
      {.max_length = setting.max_length, .micro_batch = setting.micro_batch, .dropout_seed = 3});
  GradientSums<T> sums(gradient_buckets(setting.config, table, 100), *backend.communicator);
  Outcome<T> outcome;
  outcome.gradient.resize(parameters.size());
  const T log_temperature = static_cast<T>(std::log(0.3));
  step.run({store, plan, *loss}, plan.batch(index), index, {parameters.data(), &log_temperature, true}, 1.0,
           {outcome.gradient.data(), &outcome.loss}, &sums);
  outcome.log_temperature_gradient = outcome.gradient[table.at("loss.log_temperature").offset];
  return outcome;
}

template <class T>
Outcome<T> run_on(int ranks, const Setting& setting, const TokenStore& store,
                  const std::vector<T>& parameters, std::int64_t index = 0) {
  std::vector<Outcome<T>> outcomes(static_cast<std::size_t>(ranks));
  run_ranks(ranks, [&](Communicator& communicator) {
    outcomes[communicator.rank()] = run_rank<T>(setting, store, parameters, index, communicator);
  });
  for (const auto& outcome : outcomes) EXPECT_EQ(outcome.gradient, outcomes[0].gradient);
  return outcomes[0];
}

double largest(const std::vector<double>& values) {
  double most = 0;
  for (const double value : values) most = std::max(most, std::abs(value));
  return most;
}

/// Of the gradient by every tensor, in a random direction.
void expect_central_differences(Setting setting) {
  setting.max_length = 512;
  setting.plan = {.seed = 7, .global_batch = 4, .positives = 2, .hard_negatives = 1};
  const TokenStore store =
      synthetic_store({.vocabulary_size = 53, .lengths = {1, 2, 3, 512, 9, 17, 64, 5, 12}});
  const ParameterTable table(setting.config);
  const auto parameters = random_parameters<double>(table);
  const Outcome<double> at = run_on<double>(1, setting, store, parameters);
  ASSERT_GT(at.loss, 0);
  constexpr double kStep = 1e-6;
  for (const TensorView& tensor : table.tensors()) {
    if (tensor.name == "loss.log_temperature") continue;  // tested with the loss, whose argument it is
    const auto direction = random_values<double>(static_cast<std::size_t>(tensor.size), 23);
    std::vector<double> moved = parameters;
    const auto loss_at = [&](double step) {
      for (std::int64_t i = 0; i < tensor.size; ++i) {
        moved[tensor.offset + i] = parameters[tensor.offset + i] + step * direction[i];
      }
      return run_on<double>(1, setting, store, moved).loss;
    };
    const double numeric = (loss_at(kStep) - loss_at(-kStep)) / (2 * kStep);
    const auto first = at.gradient.begin() + tensor.offset;
    const double analytic = std::inner_product(direction.begin(), direction.end(), first, 0.0);
    double magnitude = 0;
    for (std::int64_t i = 0; i < tensor.size; ++i) magnitude += std::abs(direction[i] * first[i]);
    EXPECT_NEAR(numeric, analytic, 1e-6 * magnitude + 1e-9 * at.loss) << tensor.name;
  }
}

class StepGradient : public testing::TestWithParam<std::tuple<Pooling, bool, bool>> {};

TEST_P(StepGradient, MatchesCentralDifferences) {
  Setting setting;
  const auto [pooling, dropout, symmetric] = GetParam();
  setting.config.pooling = pooling;
  setting.symmetric = symmetric;
  if (!dropout) setting.config.hidden_dropout = setting.config.attention_dropout = 0;
  expect_central_differences(setting);
}

TEST(SeparateTowers, GradientsMatchCentralDifferences) {
  Setting setting;
  setting.config.separate_towers = true;
  expect_central_differences(setting);
}

/// Two towers that begin as one: the loss is that of the one, and its gradient the sum of theirs.
TEST(SeparateTowers, ThatAreEqualDoWhatOneDoes) {
  const TokenStore store = synthetic_store({.vocabulary_size = 53});
  Setting shared, separate;
  separate.config.separate_towers = true;
  const ParameterTable one(shared.config), two(separate.config);
  ASSERT_EQ(two.size(), 2 * one.size() - 1);
  const auto parameters = random_parameters<double>(one);
  std::vector<double> twice(parameters.begin(), parameters.end() - 1);
  twice.insert(twice.end(), parameters.begin(), parameters.end());
  for (const int ranks : {1, 3}) {
    for (const std::int64_t micro_batch : {0, 3}) {
      shared.micro_batch = separate.micro_batch = micro_batch;
      const auto expected = run_on<double>(ranks, shared, store, parameters);
      const auto found = run_on<double>(ranks, separate, store, twice);
      EXPECT_NEAR(found.loss, expected.loss, 1e-12 * expected.loss);
      EXPECT_NEAR(found.log_temperature_gradient, expected.log_temperature_gradient, 1e-11);
      const std::size_t size = parameters.size() - 1;
      const double scale = largest(expected.gradient);
      for (std::size_t i = 0; i < size; ++i) {
        ASSERT_NEAR(found.gradient[i] + found.gradient[size + i], expected.gradient[i], 1e-11 * scale)
            << ranks << " ranks, element " << i;
      }
      EXPECT_GT(largest({found.gradient.begin(), found.gradient.begin() + static_cast<std::ptrdiff_t>(size)}),
                0);
    }
  }
}

TEST(SeparateTowers, OfOtherParametersDependOnNoRank) {
  const TokenStore store = synthetic_store({.vocabulary_size = 53});
  Setting setting;
  setting.config.separate_towers = true;
  const auto parameters = random_parameters<double>(ParameterTable(setting.config));
  const auto one = run_on<double>(1, setting, store, parameters, 3);
  const double scale = largest(one.gradient);
  for (const int ranks : {2, 6}) {
    const auto many = run_on<double>(ranks, setting, store, parameters, 3);
    EXPECT_NEAR(many.loss, one.loss, 1e-12 * one.loss);
    for (std::size_t i = 0; i < one.gradient.size(); ++i) {
      ASSERT_NEAR(many.gradient[i], one.gradient[i], 1e-11 * scale) << ranks << " ranks, element " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, StepGradient,
    testing::Values(std::tuple{Pooling::kMean, false, false}, std::tuple{Pooling::kMean, true, true},
                    std::tuple{Pooling::kCls, true, false}, std::tuple{Pooling::kCls, false, true},
                    std::tuple{Pooling::kLast, true, false}, std::tuple{Pooling::kLast, false, false}));

TEST(TrainingStep, RanksDoNotChangeTheGradient) {
  const TokenStore store = synthetic_store({.vocabulary_size = 53});
  for (const Setting& setting : {Setting{}, Setting{.symmetric = true}, Setting{.uniformity = true}}) {
    const auto parameters = random_parameters<double>(ParameterTable(setting.config));
    // Batch 3 is the last of the epoch and has 4 queries: with 6 ranks, some have none.
    for (const std::int64_t index : {0, 3}) {
      const auto one = run_on<double>(1, setting, store, parameters, index);
      for (const int ranks : {2, 3, 4, 6}) {
        const auto many = run_on<double>(ranks, setting, store, parameters, index);
        EXPECT_NEAR(many.loss, one.loss, 1e-12 * one.loss);
        EXPECT_NEAR(many.log_temperature_gradient, one.log_temperature_gradient, 1e-11);
        const double scale = largest(one.gradient);
        for (std::size_t i = 0; i < one.gradient.size(); ++i) {
          ASSERT_NEAR(many.gradient[i], one.gradient[i], 1e-11 * scale) << ranks << " ranks, element " << i;
        }
      }
    }
  }
}

TEST(TrainingStep, MicroBatchesDoNotChangeTheGradient) {
  const TokenStore store = synthetic_store({.vocabulary_size = 53});
  Setting setting;
  const auto parameters = random_parameters<double>(ParameterTable(setting.config));
  const auto whole = run_on<double>(2, setting, store, parameters);
  const double scale = largest(whole.gradient);
  for (const std::int64_t micro_batch : {1, 4, 5}) {
    setting.micro_batch = micro_batch;
    const auto chunked = run_on<double>(2, setting, store, parameters);
    EXPECT_NEAR(chunked.loss, whole.loss, 1e-12 * whole.loss);
    for (std::size_t i = 0; i < whole.gradient.size(); ++i) {
      ASSERT_NEAR(chunked.gradient[i], whole.gradient[i], 1e-11 * scale) << "element " << i;
    }
  }
}

TEST(TrainingStep, BatchesDrawOtherMasks) {
  const TokenStore store = synthetic_store({.queries = 12, .vocabulary_size = 53});
  Setting setting;
  setting.plan = {.seed = 7, .global_batch = 12};
  const auto parameters = random_parameters<double>(ParameterTable(setting.config));
  EXPECT_NE(run_on<double>(1, setting, store, parameters, 0).loss,
            run_on<double>(1, setting, store, parameters, 1).loss);
}

/// Five AdamW steps; returns the losses and the parameters.
std::pair<std::vector<double>, std::vector<float>> five_steps(int ranks, const TokenStore& store) {
  Setting setting;
  setting.config.hidden_size = 48;
  setting.config.heads = 4;
  setting.config.intermediate_size = 96;
  setting.plan.global_batch = 16;
  const ParameterTable table(setting.config);
  std::vector<float> start(static_cast<std::size_t>(table.size()));
  initialize_parameters(setting.config, table, 1, start.data());
  std::vector<double> losses;
  std::vector<float> result;
  run_ranks(ranks, [&](Communicator& communicator) {
    const auto ops = make_cpu_ops<float>();
    AdamW<float> adamw(*ops, {{0, table.size(), false}}, {});
    std::vector<float> parameters = start;
    for (std::int64_t step = 1; step <= 5; ++step) {
      const auto outcome = run_rank<float>(setting, store, parameters, step - 1, communicator);
      adamw.update(step, 1e-3, outcome.gradient.data(), parameters.data(), nullptr);
      if (communicator.rank() == 0) losses.push_back(outcome.loss);
    }
    if (communicator.rank() == 0) result = parameters;
  });
  return {losses, result};
}

TEST(TrainingStep, FiveFloatStepsAgreeOverRanks) {
  const TokenStore store = synthetic_store({.vocabulary_size = 53});
  const auto [losses, parameters] = five_steps(1, store);
  double norm = 0;
  for (const float value : parameters) norm += static_cast<double>(value) * value;
  for (const int ranks : {2, 3, 4}) {
    const auto [other_losses, other] = five_steps(ranks, store);
    for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_NEAR(other_losses[i], losses[i], 1e-5 * losses[i]);
    double difference = 0;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      difference += std::pow(static_cast<double>(parameters[i]) - other[i], 2);
    }
    EXPECT_LT(std::sqrt(difference), 1e-5 * std::sqrt(norm)) << ranks << " ranks";
    const auto again = five_steps(ranks, store);
    EXPECT_EQ(again.second, other) << "the same number of ranks gives the same bits";
    EXPECT_EQ(again.first, other_losses);
  }
}

/// Its value is not finite on one rank's part of the batch, its gradient is 0.
class NotFiniteLoss final : public Loss<float> {
 public:
  explicit NotFiniteLoss(Ops<float>& ops) : ops_(ops) {}
  void compute(const LossBatch<float>& batch, const float*, TensorCommunicator&,
               const LossGradient<float>& gradient) override {
    ops_.zero(gradient.query, batch.queries * batch.dimension);
    ops_.zero(gradient.document, batch.candidates * batch.dimension);
    *gradient.log_temperature = 0;
    *gradient.value = batch.first_query == 0 ? std::numeric_limits<double>::infinity() : 1;
  }
  void take_memory(const LossSize&, Arena&) const override {}

 private:
  Ops<float>& ops_;
};

TEST(TrainingStepFaults, ALossThatIsNotFiniteMakesTheGradientSoOnAllRanks) {
  const TokenStore store = synthetic_store({.vocabulary_size = 53});
  const Setting setting;
  const ParameterTable table(setting.config);
  const std::vector<float> parameters = random_parameters<float>(table);
  run_ranks(2, [&](Communicator& communicator) {
    const Backend<float> backend = make_cpu_backend<float>(communicator);
    NotFiniteLoss loss(*backend.ops);
    BatchPlan plan(store, store.split("train"), setting.plan);
    TrainingStep<float> step(setting.config, table, *backend.ops, *backend.communicator, {.max_length = 30});
    GradientSums<float> sums(gradient_buckets(setting.config, table, 100), *backend.communicator);
    std::vector<float> gradient(parameters.size());
    double value = 0;
    const float log_temperature = 0;
    step.run({store, plan, loss}, plan.batch(0), 0, {parameters.data(), &log_temperature, false}, 0.5,
             {gradient.data(), &value}, &sums);
    EXPECT_FALSE(std::isfinite(gradient[table.at("loss.log_temperature").offset])) << communicator.rank();
  });
}

}  // namespace
}  // namespace toller
