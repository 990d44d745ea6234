#include "comm/mpi_communicator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "comm/collective_cases.h"
#include "error.h"

namespace toller {
namespace {

// 32768 elements over all ranks are summed all-to-all, more go round the ring in messages of at most 131072.
constexpr std::size_t short_lengths[] = {0, 1, 2, 3, 5, 1000, 8192};
constexpr std::size_t ring_lengths[] = {40000, 131072 * 2, 131072 * 4 + 1, 1000003};

TEST(MpiCommunicator, KnowsRankAndSize) {
  MpiCommunicator c(MPI_COMM_WORLD);
  int rank = -1, size = -1;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  EXPECT_EQ(c.rank(), rank);
  EXPECT_EQ(c.size(), size);
}

TEST(MpiCommunicator, SumsShortAndLong) {
  MpiCommunicator c(MPI_COMM_WORLD);
  for (const std::size_t length : short_lengths) {
    expect_sum<float>(c, length);
    expect_sum<double>(c, length);
  }
  for (const std::size_t length : ring_lengths) {
    expect_sum<float>(c, length);
    expect_sum<double>(c, length);
  }
}

/// Values whose sum depends on the order of adding.
std::vector<float> rough_values(int rank, std::size_t length) {
  std::vector<float> values(length);
  for (std::size_t i = 0; i < length; ++i) {
    values[i] = static_cast<float>(std::sin(static_cast<double>(i + 1) * (rank + 1)) *
                                   std::pow(10.0, (i + rank) % 5));
  }
  return values;
}

TEST(MpiCommunicator, SumsHaveTheSameBitsOnEveryRankAndEveryTime) {
  MpiCommunicator c(MPI_COMM_WORLD);
  for (const std::size_t length : {std::size_t{1000}, std::size_t{300001}}) {
    std::vector<float> first = rough_values(c.rank(), length);
    c.all_reduce_sum(std::span<float>(first));
    std::vector<float> again = rough_values(c.rank(), length);
    c.all_reduce_sum(std::span<float>(again));
    ASSERT_EQ(std::memcmp(first.data(), again.data(), length * sizeof(float)), 0);
    std::vector<float> roots = first;
    c.broadcast({reinterpret_cast<std::uint8_t*>(roots.data()), length * sizeof(float)}, 0);
    ASSERT_EQ(std::memcmp(first.data(), roots.data(), length * sizeof(float)), 0);
  }
}

TEST(MpiCommunicator, ShortSumsAddInRankOrder) {
  MpiCommunicator c(MPI_COMM_WORLD);
  std::vector<float> data = rough_values(c.rank(), 1000);
  c.all_reduce_sum(std::span<float>(data));
  std::vector<float> expected = rough_values(0, 1000);
  for (int r = 1; r < c.size(); ++r) {
    const std::vector<float> more = rough_values(r, 1000);
    for (std::size_t i = 0; i < more.size(); ++i) expected[i] += more[i];
  }
  EXPECT_EQ(data, expected);
}

TEST(MpiCommunicator, Maximum) {
  MpiCommunicator c(MPI_COMM_WORLD);
  expect_max(c);
}

TEST(MpiCommunicator, GathersUnevenAndEmptyShares) {
  MpiCommunicator c(MPI_COMM_WORLD);
  for (const auto& counts : uneven_counts(c.size())) {
    expect_gather<float>(c, counts);
    expect_gather<double>(c, counts);
    expect_gather<std::uint16_t>(c, counts);
    expect_gather_in_place<float>(c, counts);
    expect_gather_in_place<std::uint16_t>(c, counts);
  }
}

TEST(MpiCommunicator, ScattersSumsOfUnevenAndEmptyShares) {
  MpiCommunicator c(MPI_COMM_WORLD);
  auto cases = uneven_counts(c.size());
  // Several messages for some blocks, one or none for others.
  std::vector<std::int64_t> large(static_cast<std::size_t>(c.size()), 0);
  large.front() = 300000;
  large.back() += 131072;
  cases.push_back(large);
  for (const auto& counts : cases) {
    expect_scatter<float>(c, counts);
    expect_scatter<double>(c, counts);
    expect_scatter_in_place<float>(c, counts);
  }
}

TEST(MpiCommunicator, ScatterIsTheAdjointOfGather) {
  // <gather(x), y> summed over ranks equals <x, scatter(y)> summed over ranks.
  MpiCommunicator c(MPI_COMM_WORLD);
  const std::vector<std::int64_t> counts = uneven_counts(c.size()).front();
  const auto own = static_cast<std::size_t>(counts[static_cast<std::size_t>(c.rank())]);
  const auto length = static_cast<std::size_t>(total(counts, c.size()));
  std::vector<double> x(own), y(length), gathered(length), scattered(own);
  for (std::size_t i = 0; i < own; ++i) x[i] = std::sin(static_cast<double>(i) + 3.0 * c.rank());
  for (std::size_t i = 0; i < length; ++i) y[i] = std::cos(static_cast<double>(i) * (c.rank() + 1.0));
  c.all_gather(std::span<const double>(x), counts, std::span(gathered));
  c.reduce_scatter_sum(std::span<const double>(y), counts, std::span(scattered));
  std::vector<double> products{0, 0};
  for (std::size_t i = 0; i < length; ++i) products[0] += gathered[i] * y[i];
  for (std::size_t i = 0; i < own; ++i) products[1] += x[i] * scattered[i];
  c.all_reduce_sum(std::span(products));
  EXPECT_NEAR(products[0], products[1], 1e-12 * static_cast<double>(length));
}

TEST(MpiCommunicator, Broadcasts) {
  MpiCommunicator c(MPI_COMM_WORLD);
  expect_broadcast(c);
}

TEST(MpiCommunicator, RefusesCountsThatDoNotFit) {
  MpiCommunicator c(MPI_COMM_WORLD);
  std::vector<std::int64_t> counts(static_cast<std::size_t>(c.size()), 2);
  const std::vector<float> local(3);
  std::vector<float> all(2 * counts.size());
  EXPECT_THROW(c.all_gather(std::span<const float>(local), counts, std::span(all)), Error);
  counts.push_back(0);
  EXPECT_THROW(c.reduce_scatter_sum(std::span<const float>(all), counts, std::span(all).first(2)), Error);
}

TEST(MpiCommunicator, MpiErrorsNameRankAndOperation) {
  MpiCommunicator c(MPI_COMM_WORLD);
  std::vector<std::uint8_t> data(4);
  try {
    c.broadcast(data, c.size());  // there is no such root
    FAIL() << "no error";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("broadcast"), std::string::npos) << message;
    EXPECT_NE(message.find("rank " + std::to_string(c.rank())), std::string::npos) << message;
  }
}

}  // namespace
}  // namespace toller
