// The Mann–Whitney loss on the GPU backend: all forms, on several ranks, against the CPU's exact form in
// double on the same numbers.
#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <type_traits>

#include "cuda/cuda_backends.h"
#include "cuda/device_array.h"
#include "loss/mw_problem.h"

namespace toller {
namespace {

template <class T>
using Storage = std::conditional_t<std::is_same_v<T, BFloat16>, bfloat16, float>;

template <class T>
Backend<T> make_backend(GpuBackends& gpus, Communicator& communicator) {
  if constexpr (std::is_same_v<T, BFloat16>) {
    return gpus.make_bfloat16({.communicator = "mpi"}, communicator);
  } else {
    return gpus.make_float({.communicator = "mpi"}, communicator);
  }
}

/// An array of T on the device with these numbers.
template <class T>
DeviceBuffer<T> as_storage(DeviceMemory& memory, const std::vector<double>& values) {
  const auto stored = to_storage<Storage<T>>(values);
  DeviceBuffer<T> buffer(memory, static_cast<std::int64_t>(values.size()));
  memory.copy_to_device(buffer.data(), stored.data(), stored.size() * sizeof(T));
  return buffer;
}

std::vector<double> read(const DeviceBuffer<float>& buffer) {
  std::vector<float> values(static_cast<std::size_t>(buffer.size()));
  buffer.read(values);
  return {values.begin(), values.end()};
}

template <class T>
LossResult gpu_rank_loss(const LossProblem& problem, const MwOptions& options, std::int64_t first,
                         std::int64_t last, Communicator& communicator, GpuBackends& gpus) {
  const Backend<T> backend = make_backend<T>(gpus, communicator);
  Ops<T>& ops = *backend.ops;
  const std::int64_t d = problem.dimension;
  std::vector<std::int64_t> positive_offsets{0}, excluded_offsets{0};
  std::vector<std::int32_t> positive, excluded;
  for (std::int64_t i = first; i < last; ++i) {
    append_list(problem.positive[i], positive_offsets, positive);
    append_list(problem.excluded[i], excluded_offsets, excluded);
  }
  ops.begin_step();
  const auto query =
      as_storage<T>(ops, {problem.query.begin() + first * d, problem.query.begin() + last * d});
  const auto document = as_storage<T>(ops, problem.document);
  const auto log_temperature = as_storage<float>(ops, {problem.log_temperature});
  DeviceBuffer<float> dquery(ops, query.size()), ddocument(ops, document.size());
  DeviceBuffer<double> totals(ops, 2);
  const auto loss = make_mw<T>(ops, *backend.score_ops, options);
  const auto before = host_waits();
  loss->compute({last - first, problem.queries, problem.candidates, d, query.data(), document.data(),
                 positive_offsets, positive, excluded_offsets, excluded},
                log_temperature.data(), *backend.communicator,
                {dquery.data(), ddocument.data(), totals.data() + 1, totals.data()});
  if (communicator.size() == 1 && !options.exact) {
    EXPECT_EQ(host_waits(), before) << "the host waited for the device";
  }
  std::vector<double> numbers(2);
  totals.read(numbers);
  return {numbers[0], numbers[1], read(dquery), read(ddocument)};
}

template <class T>
class MwOnTheGpu : public testing::Test {};
using GpuElements = testing::Types<float, BFloat16>;
TYPED_TEST_SUITE(MwOnTheGpu, GpuElements);

/// bfloat16: a gradient of a score is rounded by 2⁻⁹ of its size.
TYPED_TEST(MwOnTheGpu, AgreesWithTheCpu) {
  LossProblem problem = random_problem(13, 59, 16, 0.05, false, true);
  problem.query = rounded<Storage<TypeParam>>(problem.query);
  problem.document = rounded<Storage<TypeParam>>(problem.document);
  problem.log_temperature = static_cast<double>(static_cast<float>(problem.log_temperature));
  const double tolerance = std::is_same_v<TypeParam, float> ? 1e-5 : 0x1p-8;
  const auto gpus = make_cuda_backends([](const std::string& message) { FAIL() << message; });
  for (MwOptions options : {MwOptions{.grid_points = mw_grid_points(0.05)}, MwOptions{.exact = true},
                            MwOptions{.per_query = true}}) {
    const LossResult expected = mw_loss<double>(problem, {.exact = true, .per_query = options.per_query});
    options.tile_rows = 6;
    options.tile_columns = 32;
    for (const std::vector<std::int64_t>& counts : {std::vector<std::int64_t>{13}, {6, 7}, {8, 0, 5}}) {
      SCOPED_TRACE(testing::PrintToString(counts) + (options.exact       ? ", exact"
                                                     : options.per_query ? ", per query"
                                                                         : ", grid"));
      const LossResult result =
          sum_over_ranks(counts, [&](Communicator& communicator, std::int64_t first, std::int64_t last) {
            return gpu_rank_loss<TypeParam>(problem, options, first, last, communicator, *gpus);
          });
      EXPECT_NEAR(result.value, expected.value, 1e-5 * expected.value);
      EXPECT_NEAR(result.log_temperature, expected.log_temperature,
                  1e-5 * std::abs(expected.log_temperature));
      EXPECT_LT(relative_difference(result.query, expected.query), tolerance);
      EXPECT_LT(relative_difference(result.document, expected.document), tolerance);
    }
  }
}

}  // namespace
}  // namespace toller
