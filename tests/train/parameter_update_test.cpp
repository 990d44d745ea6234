// Updates with sharded optimiser state against those with whole state, on several ranks.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "comm/thread_communicator.h"
#include "device/backend.h"
#include "model/random_encoder.h"
#include "train/parameter_update.h"

namespace toller {
namespace {

const EncoderConfig kConfig = small_config();
const ParameterTable kTable(kConfig);

/// A rank's part of the gradient of a step: decaying waves, so that no two elements are alike.
template <class T>
std::vector<T> gradient_of(int rank, std::int64_t step) {
  std::vector<T> gradient(static_cast<std::size_t>(kTable.size()));
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] = static_cast<T>(std::sin(0.1 * static_cast<double>(i) + rank) / static_cast<double>(step));
  }
  return gradient;
}

template <class T>
std::vector<T> start_values() {
  std::vector<T> values(static_cast<std::size_t>(kTable.size()));
  initialize_parameters(kConfig, kTable, 1, values.data());
  return values;
}

/// Parameters and moments, flat.
template <class T>
struct State {
  std::vector<T> parameters = start_values<T>(), m, v;
};

/// Steps `from` … `to` − 1 on some ranks; what every rank reads of its shard is put together.
template <class T>
class UpdateRuns {
 public:
  UpdateRuns(int ranks, bool sharded) : ranks_(ranks), sharded_(sharded) {}

  State<T> run(const State<T>& start, std::int64_t from, std::int64_t to) {
    State<T> end = start;
    end.m.resize(end.parameters.size());
    end.v.resize(end.parameters.size());
    run_ranks(ranks_, [&](Communicator& communicator) { run_rank(start, from, to, communicator, end); });
    return end;
  }

  /// Where rank 0's gradient is not finite in this step.
  std::int64_t bad_step = 0;
  std::vector<std::size_t> bad_elements;
  /// What is told of that step.
  std::vector<std::size_t> tensors_not_finite;
  double low = -100, high = 100;  ///< of log τ

 private:
  void run_rank(const State<T>& start, std::int64_t from, std::int64_t to, Communicator& communicator,
                State<T>& end) {
    const Backend<T> backend = make_cpu_backend<T>(communicator);
    const ParameterShards shards(kTable, gradient_buckets(kConfig, kTable, 1000), communicator.size());
    ParameterUpdate<T> update(kTable, shards, sharded_, {.weight_decay = 0.1, .clip_norm = 0.5}, *backend.ops,
                              *backend.communicator);
    std::vector<T> parameters = start.parameters;
    update.start(parameters, start.m, start.v);
    update.clamp_log_temperature(low, high);
    for (std::int64_t step = from; step < to; ++step) {
      std::vector<T> gradient = gradient_of<T>(communicator.rank(), step);
      if (step == bad_step && communicator.rank() == 0) {
        for (const std::size_t element : bad_elements)
          gradient[element] = std::numeric_limits<T>::quiet_NaN();
      }
      update.sums().begin(gradient.data());
      update.sums().final_from(kTable.size() / 2);
      update.sums().finish();
      update.update(step, 0.01, gradient.data(), parameters.data(), nullptr);
      if (step != bad_step) continue;
      EXPECT_FALSE(std::isfinite(*update.squared_norm()));
      const auto found = update.tensors_not_finite(step, communicator);
      if (communicator.rank() + 1 == communicator.size()) tensors_not_finite = found;
    }
    collect(update, shards, parameters, communicator, end);
  }

  static void collect(ParameterUpdate<T>& update, const ParameterShards& shards,
                      const std::vector<T>& parameters, Communicator& communicator, State<T>& end) {
    std::vector<T> own(static_cast<std::size_t>(shards.elements(communicator.rank()))), m = own, v = own;
    update.read_own(parameters.data(), own, m, v);
    for (const ParameterPiece& piece : shards.pieces(communicator.rank())) {
      for (std::int64_t i = 0; i < piece.size; ++i) {
        const auto from = static_cast<std::size_t>(piece.place + i);
        const auto to = static_cast<std::size_t>(piece.offset + i);
        EXPECT_EQ(own[from], parameters[to]);
        end.parameters[to] = own[from];
        end.m[to] = m[from];
        end.v[to] = v[from];
      }
    }
  }

  int ranks_;
  bool sharded_;
};

template <class T>
double relative_distance(const std::vector<T>& actual, const std::vector<T>& expected) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    difference += std::pow(static_cast<double>(actual[i]) - static_cast<double>(expected[i]), 2);
    size += std::pow(static_cast<double>(expected[i]), 2);
  }
  return std::sqrt(difference / size);
}

template <class T>
class ParameterUpdateTest : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(ParameterUpdateTest, Elements);

template <class T>
constexpr double kTolerance = std::is_same_v<T, float> ? 1e-6 : 1e-14;

TYPED_TEST(ParameterUpdateTest, ShardsGiveWhatWholeStateGives) {
  using T = TypeParam;
  for (const int ranks : {1, 2, 3, 4}) {
    SCOPED_TRACE(ranks);
    const State<T> whole = UpdateRuns<T>(ranks, false).run({}, 1, 11);
    const State<T> shards = UpdateRuns<T>(ranks, true).run({}, 1, 11);
    EXPECT_LT(relative_distance(shards.parameters, whole.parameters), kTolerance<T>);
    EXPECT_LT(relative_distance(shards.m, whole.m), kTolerance<T>);
    EXPECT_LT(relative_distance(shards.v, whole.v), kTolerance<T>);
    EXPECT_GT(relative_distance(whole.parameters, start_values<T>()), 0.1);
  }
}

TYPED_TEST(ParameterUpdateTest, GoesOnFromItsOwnMomentsWithTheSameBits) {
  using T = TypeParam;
  for (const bool sharded : {false, true}) {
    const State<T> at_once = UpdateRuns<T>(3, sharded).run({}, 1, 9);
    const State<T> half = UpdateRuns<T>(3, sharded).run({}, 1, 5);
    const State<T> resumed = UpdateRuns<T>(3, sharded).run(half, 5, 9);
    EXPECT_EQ(resumed.parameters, at_once.parameters);
    EXPECT_EQ(resumed.m, at_once.m);
    EXPECT_EQ(resumed.v, at_once.v);
  }
}

TYPED_TEST(ParameterUpdateTest, AStepThatIsNotFiniteChangesNothingAndNamesItsTensors) {
  using T = TypeParam;
  const TensorView& table = kTable.tensors().front();
  for (const int ranks : {1, 3}) {
    for (const bool sharded : {false, true}) {
      UpdateRuns<T> runs(ranks, sharded);
      const State<T> before = runs.run({}, 1, 4);
      runs.bad_step = 4;
      // Ends of a tensor that several ranks share, and the last element of all.
      runs.bad_elements = {0, static_cast<std::size_t>(table.size - 1),
                           static_cast<std::size_t>(kTable.size() - 1)};
      const State<T> after = runs.run(before, 4, 5);
      EXPECT_EQ(after.parameters, before.parameters);
      EXPECT_EQ(after.m, before.m);
      EXPECT_EQ(after.v, before.v);
      EXPECT_EQ(runs.tensors_not_finite, (std::vector<std::size_t>{0, kTable.tensors().size() - 1}));
    }
  }
}

TYPED_TEST(ParameterUpdateTest, KeepsTheTemperatureInBounds) {
  using T = TypeParam;
  for (const bool sharded : {false, true}) {
    UpdateRuns<T> runs(2, sharded);
    runs.low = -0.001;
    runs.high = 0.001;
    const State<T> after = runs.run({}, 1, 20);
    EXPECT_EQ(std::abs(after.parameters.back()), static_cast<T>(0.001)) << sharded;
  }
}

}  // namespace
}  // namespace toller
