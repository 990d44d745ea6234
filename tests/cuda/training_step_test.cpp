// Whole training steps on the GPU backend: encoder, loss, sums over ranks and optimiser against the same
// steps of the CPU backend. Ranks are threads; where there are fewer GPUs than ranks, they share them.
#include "train/training_step.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <type_traits>

#include "comm/thread_communicator.h"
#include "cuda/cuda_backends.h"
#include "cuda/execution_model.h"
#include "cuda/nccl_communicator.h"
#include "data/synthetic_store.h"
#include "device/backend.h"
#include "error.h"
#include "model/random_encoder.h"
#include "optim/adamw.h"
#include "train/parameter_update.h"

namespace toller {
namespace {

struct Setting {
  EncoderConfig config = small_config();
  BatchPlanOptions plan{.seed = 7, .global_batch = 10, .positives = 2, .hard_negatives = 1};
  bool symmetric = false, learn_temperature = true;
  bool lists = false;  ///< list-wise losses beside InfoNCE
  std::int64_t micro_batch = 0, accumulate = 1;
  bool sharded = false;
  std::int64_t steps = 5;

  Setting() {
    config.hidden_size = 64;
    config.heads = 2;
    config.intermediate_size = 96;
  }
};

struct Outcome {
  std::vector<double> losses, norms;
  std::vector<float> parameters;
};

std::vector<float> start_parameters(const Setting& setting) {
  const ParameterTable table(setting.config);
  std::vector<float> parameters(static_cast<std::size_t>(table.size()));
  initialize_parameters(setting.config, table, 1, parameters.data());
  parameters[table.at("loss.log_temperature").offset] = std::log(0.2f);
  return parameters;
}

template <class T>
std::unique_ptr<Loss<T>> make_loss(const Setting& setting, const Backend<T>& backend) {
  Ops<T>& ops = *backend.ops;
  ScoreOps<T>& score_ops = *backend.score_ops;
  auto infonce = make_infonce<T>(ops, score_ops, {.symmetric = setting.symmetric, .tile_columns = 16});
  if (!setting.lists) return infonce;
  std::vector<WeightedLoss<T>> terms;
  terms.push_back({std::move(infonce), 0.5});
  terms.push_back({make_list_loss<T>(ops, score_ops, {.kind = ListLossKind::kRankNet}), 2});
  terms.push_back({make_list_loss<T>(ops, score_ops, {.kind = ListLossKind::kListNet}), 1});
  terms.push_back({make_list_loss<T>(ops, score_ops, {.kind = ListLossKind::kPgRank}), 1});
  return make_weighted_sum<T>(ops, score_ops, std::move(terms));
}

/// The steps of a rank.
template <class T>
Outcome run_steps(const Setting& setting, const TokenStore& store, const Backend<T>& backend) {
  static_assert(std::is_same_v<RealOf<T>, float>);
  const ParameterTable table(setting.config);
  Ops<T>& ops = *backend.ops;
  const auto loss = make_loss<T>(setting, backend);
  BatchPlan plan(store, store.split("train"), setting.plan);
  TrainingStep<T> step(
      setting.config, table, ops, *backend.communicator,
      {.max_length = 30, .micro_batch = setting.micro_batch, .chunk_tokens = 100, .dropout_seed = 3});
  const ParameterShards shards(table, gradient_buckets(setting.config, table, 5000),
                               backend.communicator->size());
  ParameterUpdate<T> update(table, shards, setting.sharded, {}, ops, *backend.communicator);
  DeviceBuffer<float> parameters(ops, table.size()), gradients(ops, table.size());
  DeviceBuffer<double> losses(ops, setting.accumulate);
  DeviceBuffer<T> copy(ops, std::is_same_v<T, float> ? 1 : table.size());
  const std::vector<float> start = start_parameters(setting);
  parameters.write(start);
  update.start(start, {}, {});
  T* rounded = std::is_same_v<T, float> ? nullptr : copy.data();
  if (rounded != nullptr) ops.convert(table.size(), parameters.data(), rounded);
  const T* values = std::is_same_v<T, float> ? reinterpret_cast<const T*>(parameters.data()) : copy.data();

  Outcome outcome;
  for (std::int64_t s = 0; s < setting.steps; ++s) {
    ops.zero(gradients.data(), table.size());
    double mean = 0;
    for (std::int64_t a = 0; a < setting.accumulate; ++a) {
      const std::int64_t index = s * setting.accumulate + a;
      step.run(
          {store, plan, *loss}, plan.batch(index), index,
          {values, parameters.data() + table.at("loss.log_temperature").offset, setting.learn_temperature},
          1.0 / static_cast<double>(setting.accumulate), {gradients.data(), losses.data() + a},
          a + 1 == setting.accumulate ? &update.sums() : nullptr);
      double value = 0;
      ops.finish_read(ops.start_read(losses.data() + a, sizeof(double)), &value);
      mean += value / static_cast<double>(setting.accumulate);
    }
    update.update(s + 1, 1e-3, gradients.data(), parameters.data(), rounded);
    double squared_norm = 0;
    ops.finish_read(ops.start_read(update.squared_norm(), sizeof(double)), &squared_norm);
    outcome.losses.push_back(mean);
    outcome.norms.push_back(std::sqrt(squared_norm));
  }
  outcome.parameters.resize(static_cast<std::size_t>(table.size()));
  parameters.read(outcome.parameters);
  return outcome;
}

enum class Where { kCpu, kGpuFloat, kGpuBfloat16 };

/// The steps on `ranks` ranks; all of them must end with the same parameters.
Outcome run_on(Where where, int ranks, const Setting& setting, const TokenStore& store,
               const std::string& collectives = "mpi") {
  std::vector<Outcome> outcomes(static_cast<std::size_t>(ranks));
  const auto gpus = make_cuda_backends([](const std::string& message) { FAIL() << message; });
  run_ranks(ranks, [&](Communicator& communicator) {
    Outcome& outcome = outcomes[communicator.rank()];
    if (where == Where::kCpu) {
      outcome = run_steps(setting, store, make_cpu_backend<float>(communicator));
    } else if (where == Where::kGpuFloat) {
      outcome = run_steps(setting, store, gpus->make_float({.communicator = collectives}, communicator));
    } else {
      outcome = run_steps(setting, store, gpus->make_bfloat16({.communicator = collectives}, communicator));
    }
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_EQ(outcome.parameters, outcomes[0].parameters);
    EXPECT_EQ(outcome.losses, outcomes[0].losses);
  }
  return outcomes[0];
}

double norm(const std::vector<float>& a, const std::vector<float>& b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    squares += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  }
  return std::sqrt(squares);
}

/// How far two runs ended from each other, as a share of how far the second went.
double relative_distance(const Setting& setting, const Outcome& actual, const Outcome& expected) {
  return norm(actual.parameters, expected.parameters) / norm(expected.parameters, start_parameters(setting));
}

TokenStore small_store() {
  return synthetic_store({.vocabulary_size = 53});
}

// In float both backends do the same sums in other orders, with other roundings of exp and erf: 2⁻²⁴ a
// rounding. AdamW divides a gradient by its own size, so that an element whose gradient is nothing but
// rounding still moves: the distance is taken over all parameters. Measured: 2e-6, symmetric 2e-5.
void expect_the_cpus(const Setting& setting, const Outcome& gpu, const Outcome& cpu) {
  for (std::size_t s = 0; s < cpu.losses.size(); ++s) {
    EXPECT_NEAR(gpu.losses[s], cpu.losses[s], 1e-5 * cpu.losses[s]);
    EXPECT_NEAR(gpu.norms[s], cpu.norms[s], 1e-5 * cpu.norms[s]);
  }
  EXPECT_LT(relative_distance(setting, gpu, cpu), 2e-4);
  double norm_of_all = 0;
  for (const float value : cpu.parameters) norm_of_all += static_cast<double>(value) * value;
  EXPECT_LT(norm(gpu.parameters, cpu.parameters), 1e-5 * std::sqrt(norm_of_all));
}

TEST(TrainingStepOnTheDevice, FloatIsTheCpusOnAnyNumberOfRanks) {
  const TokenStore store = small_store();
  for (const bool symmetric : {false, true}) {
    Setting setting;
    setting.symmetric = symmetric;
    const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
    for (const int ranks : {1, 2, 4}) {
      SCOPED_TRACE(testing::Message() << ranks << " ranks, symmetric " << symmetric);
      expect_the_cpus(setting, run_on(Where::kGpuFloat, ranks, setting, store), cpu);
    }
  }
}

TEST(TrainingStepOnTheDevice, SeparateTowersAreTheCpus) {
  const TokenStore store = small_store();
  Setting setting;
  setting.config.separate_towers = true;
  const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
  for (const int ranks : {1, 3}) {
    SCOPED_TRACE(ranks);
    expect_the_cpus(setting, run_on(Where::kGpuFloat, ranks, setting, store), cpu);
  }
}

TEST(TrainingStepOnTheDevice, ShardedOptimiserStateGivesTheSame) {
  const TokenStore store = small_store();
  Setting setting;
  const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
  for (const int ranks : {1, 2, 3}) {
    SCOPED_TRACE(ranks);
    setting.sharded = false;
    const Outcome whole = run_on(Where::kGpuBfloat16, ranks, setting, store);
    setting.sharded = true;
    expect_the_cpus(setting, run_on(Where::kCpu, ranks, setting, store), cpu);
    expect_the_cpus(setting, run_on(Where::kGpuFloat, ranks, setting, store), cpu);
    const Outcome shards = run_on(Where::kGpuBfloat16, ranks, setting, store);
    EXPECT_LT(relative_distance(setting, shards, whole), 1e-4);
  }
}

TEST(TrainingStepOnTheDevice, SumsWithListLossesAreTheCpus) {
  const TokenStore store = small_store();
  Setting setting;
  setting.lists = true;
  setting.plan.hard_negatives = 3;
  setting.steps = 3;
  const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
  for (const int ranks : {1, 3}) {
    SCOPED_TRACE(ranks);
    expect_the_cpus(setting, run_on(Where::kGpuFloat, ranks, setting, store), cpu);
  }
}

class NcclTrainingStep : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (GetParam() > gpu_count()) GTEST_SKIP() << "wants " << GetParam() << " GPUs";
    if (const std::string reason = why_no_nccl(); !reason.empty()) GTEST_SKIP() << reason;
  }

  const Gpus gpus_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Ranks, NcclTrainingStep, testing::Values(2, 4));

TEST_P(NcclTrainingStep, GivesTheSame) {
  const TokenStore store = small_store();
  Setting setting;
  setting.symmetric = true;
  const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
  const int ranks = GetParam();
  for (const bool sharded : {true, false}) {
    setting.sharded = sharded;
    expect_the_cpus(setting, run_on(Where::kGpuFloat, ranks, setting, store, "nccl"), cpu);
  }
  EXPECT_EQ(run_on(Where::kGpuBfloat16, ranks, setting, store, "nccl").parameters,
            run_on(Where::kGpuBfloat16, ranks, setting, store, "nccl").parameters);
}

TEST(NcclTrainingStep, TakesOneRankAGpu) {
  const Gpus gpus(1);
  if (gpu_count() > 1) GTEST_SKIP() << "wants a machine with one GPU";
  EXPECT_THROW(run_on(Where::kGpuFloat, 2, Setting(), small_store(), "nccl"), Error);
}

TEST(TrainingStepOnTheDevice, RanksWithoutAQueryTakePart) {
  const TokenStore store = small_store();
  Setting setting;
  setting.plan.global_batch = 3;
  const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
  expect_the_cpus(setting, run_on(Where::kGpuFloat, 4, setting, store), cpu);
}

TEST(TrainingStepOnTheDevice, EveryPoolingMicroBatchesAndAccumulationAreTheCpus) {
  const TokenStore store = small_store();
  for (const Pooling pooling : {Pooling::kMean, Pooling::kCls, Pooling::kLast}) {
    SCOPED_TRACE(pooling_name(pooling));
    Setting setting;
    setting.config.pooling = pooling;
    setting.config.normalize = pooling != Pooling::kLast;
    setting.micro_batch = 2;
    setting.accumulate = 2;
    setting.steps = 3;
    const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
    expect_the_cpus(setting, run_on(Where::kGpuFloat, 2, setting, store), cpu);
  }
}

// RoBERTa's positions, from an odd row on and up to the last, and DistilBERT's lack of types.
TEST(TrainingStepOnTheDevice, EveryArchitectureIsTheCpus) {
  const TokenStore store = small_store();
  for (const Architecture architecture : {Architecture::kRoberta, Architecture::kDistilBert}) {
    SCOPED_TRACE(architecture_name(architecture));
    Setting setting;
    setting.steps = 3;
    setting.config.architecture = architecture;
    if (architecture == Architecture::kDistilBert) {
      setting.config.type_vocabulary_size = 0;
    } else {
      setting.config.position_offset = 3;
      setting.config.max_positions = 33;
    }
    setting.config.validate();
    const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
    expect_the_cpus(setting, run_on(Where::kGpuFloat, 2, setting, store), cpu);
    EXPECT_LT(relative_distance(setting, run_on(Where::kGpuBfloat16, 2, setting, store), cpu), 0x1p-3);
  }
}

// bfloat16 rounds by up to 2⁻⁹ of a value's binade. A path from a parameter to the loss and back goes through
// about 30 roundings (two layers, forward and backward), which add up like a random walk to about 2⁻⁶ of a
// gradient's size; the loss, a mean over queries of scores whose operands are rounded, keeps 2⁻⁸ and the norm
// of the gradient 2⁻⁶. AdamW's first steps have the gradient's sign alone, and elements near zero turn round:
// a share of them, 2⁻³ of the way in all. Measured: loss 4e-4, norm 4e-3, distance 0.04.
TEST(TrainingStepOnTheDevice, Bfloat16StaysWithinItsRoundings) {
  const TokenStore store = small_store();
  Setting setting;
  const Outcome cpu = run_on(Where::kCpu, 1, setting, store);
  for (const int ranks : {1, 2, 4}) {
    SCOPED_TRACE(ranks);
    const Outcome gpu = run_on(Where::kGpuBfloat16, ranks, setting, store);
    for (std::size_t s = 0; s < cpu.losses.size(); ++s) {
      EXPECT_NEAR(gpu.losses[s], cpu.losses[s], 0x1p-8 * cpu.losses[s]);
      EXPECT_NEAR(gpu.norms[s], cpu.norms[s], 0x1p-6 * cpu.norms[s]);
    }
    EXPECT_LT(relative_distance(setting, gpu, cpu), 0x1p-3);
    EXPECT_GT(relative_distance(setting, gpu, cpu), 1e-4) << "was this bfloat16?";
  }
}

TEST(TrainingStepOnTheDevice, RepeatsItsBits) {
  const TokenStore store = small_store();
  const Setting setting;
  for (const Where where : {Where::kGpuFloat, Where::kGpuBfloat16}) {
    EXPECT_EQ(run_on(where, 2, setting, store).parameters, run_on(where, 2, setting, store).parameters);
  }
}

#if defined(HOST_CUDA)  // which counts allocations and bytes

// Texts of one length: all steps have the same size.
TEST(TrainingStepOnTheDevice, AllocatesNothingAfterTheFirstSteps) {
  const TokenStore store = synthetic_store({.vocabulary_size = 53, .lengths = {9}});
  Setting setting;
  setting.plan = {.seed = 7, .global_batch = 8, .positives = 1, .hard_negatives = 1};
  const auto allocations = [&](std::int64_t steps) {
    setting.steps = steps;
    const std::int64_t before = host_cuda::call_counts().allocations;
    run_on(Where::kGpuBfloat16, 2, setting, store, "nccl");
    return host_cuda::call_counts().allocations - before;
  };
  const Gpus gpus(2);
  // Two steps take turns with the memory of their inputs.
  EXPECT_EQ(allocations(5), allocations(2));
}

TEST(TrainingStepOnTheDevice, MemoryIsWhatWasPlanned) {
  const TokenStore store = small_store();
  for (const std::int64_t micro_batch : {0, 3}) {
    SCOPED_TRACE(micro_batch);
    run_ranks(1, [&](Communicator& communicator) {
      const Setting setting;
      const auto gpus = make_cuda_backends({});
      const Backend<BFloat16> backend = gpus->make_bfloat16({.communicator = "mpi"}, communicator);
      const ParameterTable table(setting.config);
      const auto loss = make_infonce<BFloat16>(*backend.ops, *backend.score_ops, {});
      BatchPlan plan(store, store.split("train"), setting.plan);
      TrainingStep<BFloat16> step(setting.config, table, *backend.ops, *backend.communicator,
                                  {.max_length = 30, .micro_batch = micro_batch, .chunk_tokens = 100});
      DeviceBuffer<float> parameters(*backend.ops, table.size()), gradients(*backend.ops, table.size());
      DeviceBuffer<BFloat16> copy(*backend.ops, table.size());
      DeviceBuffer<double> value(*backend.ops, 1);
      parameters.write(start_parameters(setting));
      backend.ops->convert(table.size(), parameters.data(), copy.data());
      backend.ops->zero(gradients.data(), table.size());
      const StepMemory planned = step.memory_needed({store, plan, *loss}, plan.batch(0), micro_batch);
      step.reserve(planned);
      const std::size_t before = host_cuda::device_bytes();
      step.run({store, plan, *loss}, plan.batch(0), 0,
               {copy.data(), parameters.data() + table.at("loss.log_temperature").offset}, 1,
               {gradients.data(), value.data()}, nullptr);
      // What is not in the plan: inputs, and the workspaces of the kernels. The loss's arena begins with 1
      // MiB.
      EXPECT_LT(host_cuda::device_bytes() - before, std::size_t{4} << 20);
      EXPECT_GT(planned.activations, 0);
      EXPECT_GT(planned.loss, 0);
    });
  }
}

#endif

}  // namespace
}  // namespace toller
