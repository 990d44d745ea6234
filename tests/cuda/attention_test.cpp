// The attention kernels against the CPU's fp64 attention, through the CUDA execution model on the CPU.
#include "cuda/attention.cuh"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "cuda/device_array.h"
#include "cuda/packed_rows.h"
#include "device/cpu/dropout.h"
#include "device/ops.h"
#include "error.h"

namespace toller {
namespace {

/// Unit roundoff of bf16.
constexpr double kUnit = kBfloat16Error;
/// Room for what is done in fp32 (scores, exponentials, sums) and for second-order terms.
constexpr double kSingle = 0x1.0p-14;

std::vector<double> absolute(std::vector<double> x) {
  for (double& value : x) value = std::abs(value);
  return x;
}

/// A packed batch on the device, with its list of tiles.
struct DeviceBatch {
  DeviceArray<std::int32_t> offsets;
  DeviceArray<std::int64_t> global_row;
  PackedSequences sequences;
  DeviceArray<AttentionTile> tiles;
  DeviceArray<std::int32_t> count{1};
  AttentionWork work;

  explicit DeviceBatch(const PackedRows& batch)
      : offsets(batch.offsets),
        global_row(batch.global_rows),
        sequences(batch.sequences),
        tiles(attention_tiles_at_most(batch.sequences)) {
    sequences.offsets = offsets.data();
    sequences.global_row = global_row.data();
    work = {tiles.data(), count.data()};
    build_attention_work(sequences, work, nullptr);
  }
};

struct Sizes {
  std::int64_t heads, size;
  std::int64_t hidden() const { return heads * size; }
};

/// Results of a forward and a backward pass.
struct Result {
  std::vector<double> out, logsumexp, dqkv;
};

std::vector<double> cpu_forward(const PackedRows& batch, const Sizes& sizes, const Dropout& dropout,
                                const std::vector<double>& qkv, std::vector<double>& logsumexp) {
  std::vector<double> out(static_cast<std::size_t>(batch.rows() * sizes.hidden()));
  logsumexp.resize(static_cast<std::size_t>(batch.rows() * sizes.heads));
  make_cpu_ops<double>()->attention(batch.sequences, sizes.hidden(), sizes.heads, qkv.data(), dropout,
                                    logsumexp.data(), out.data());
  return out;
}

std::vector<double> cpu_backward(const PackedRows& batch, const Sizes& sizes, const Dropout& dropout,
                                 const std::vector<double>& qkv, const std::vector<double>& out,
                                 const std::vector<double>& logsumexp, const std::vector<double>& dout) {
  std::vector<double> dqkv(qkv.size());
  make_cpu_ops<double>()->attention_backward(batch.sequences, sizes.hidden(), sizes.heads, qkv.data(),
                                             out.data(), logsumexp.data(), dout.data(), dropout, dqkv.data());
  return dqkv;
}

template <class T>
Result cuda_passes(const PackedRows& batch, const Sizes& sizes, const Dropout& dropout,
                   const std::vector<double>& qkv, const std::vector<double>& dout) {
  DeviceBatch there(batch);
  const std::int64_t statistics = batch.rows() * sizes.heads;
  DeviceArray<T> qkv_there = on_device<T>(qkv), dout_there = on_device<T>(dout);
  DeviceArray<T> out(batch.rows() * sizes.hidden()), dqkv(3 * batch.rows() * sizes.hidden());
  DeviceArray<float> logsumexp(statistics), delta(statistics);
  attention<T>(there.sequences, sizes.hidden(), sizes.heads, there.work, qkv_there.data(), dropout,
               logsumexp.data(), out.data(), nullptr);
  attention_backward<T>(there.sequences, sizes.hidden(), sizes.heads, there.work, qkv_there.data(),
                        out.data(), logsumexp.data(), dout_there.data(), dropout, delta.data(), dqkv.data(),
                        nullptr);
  host_cuda::check_guards("after attention");
  return {out.doubles(), logsumexp.doubles(), dqkv.doubles()};
}

/// Columns [part · h, (part + 1) · h) of x [tokens, 3h].
std::vector<double> part_of(const std::vector<double>& x, std::int64_t hidden, int part) {
  std::vector<double> y;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (static_cast<std::int64_t>(i) % (3 * hidden) / hidden == part) y.push_back(x[i]);
  }
  return y;
}

void expect_within(const std::vector<double>& actual, const std::vector<double>& expected,
                   const std::vector<double>& bound, const std::string& name) {
  ASSERT_EQ(actual.size(), expected.size());
  int wrong = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    const double error = std::abs(actual[i] - expected[i]);
    if (error <= bound[i]) continue;  // false for NaN as well
    if (++wrong <= 3) {
      ADD_FAILURE() << name << "[" << i << "] is " << actual[i] << ", not " << expected[i] << " ± "
                    << bound[i];
    }
  }
  EXPECT_EQ(wrong, 0) << name;
}

/// Every element within `tolerance` of the largest.
void expect_near_largest(const std::vector<double>& actual, const std::vector<double>& expected,
                         double tolerance, const std::string& name) {
  double largest = 0;
  for (const double value : expected) largest = std::max(largest, std::abs(value));
  expect_within(actual, expected, std::vector<double>(expected.size(), tolerance * largest), name);
}

/// How far dQ and dK in bf16 may be off. Their only roundings to bf16 are those of dS and of the result; E_ij
/// = u |dS_ij| + ε P_ij (|dP_ij| + |δ_i|) bounds the error of dS, with ε for the fp32 arithmetic, and the
/// sums carry it on: Σ_j E_ij |K_j|/√c + u |dQ_i|, likewise for dK.
std::vector<double> gradient_bounds(const PackedRows& batch, const Sizes& sizes, const Dropout& dropout,
                                    const std::vector<double>& qkv, const std::vector<double>& out,
                                    const std::vector<double>& logsumexp, const std::vector<double>& dout,
                                    const std::vector<double>& dqkv) {
  const auto h = static_cast<std::size_t>(sizes.hidden()), c = static_cast<std::size_t>(sizes.size);
  const auto heads = static_cast<std::size_t>(sizes.heads);
  const double scale = 1 / std::sqrt(static_cast<double>(c));
  const auto dot = [c](const double* a, const double* b) {
    double sum = 0;
    for (std::size_t i = 0; i < c; ++i) sum += a[i] * b[i];
    return sum;
  };
  std::vector<double> bound(qkv.size());
  for (std::size_t i = 0; i < bound.size(); ++i) bound[i] = kUnit * (1 + kUnit) * std::abs(dqkv[i]) + 1e-30;
  for (std::size_t sequence = 0; sequence + 1 < batch.offsets.size(); ++sequence) {
    const auto first = static_cast<std::size_t>(batch.offsets[sequence]);
    const auto length = static_cast<std::size_t>(batch.offsets[sequence + 1]) - first;
    std::vector<double> mask(length, 1.0);
    for (std::size_t i = first; i < first + length; ++i) {
      for (std::size_t head = 0; head < heads; ++head) {
        if (dropout.rate > 0) {
          dropout_scales(dropout, batch.global_rows[i] * sizes.heads + static_cast<std::int64_t>(head),
                         batch.sequences.length_limit, static_cast<std::int64_t>(length), mask.data());
        }
        const double *q = &qkv[i * 3 * h + head * c], *gradient = &dout[i * h + head * c];
        const double delta = dot(gradient, &out[i * h + head * c]);
        for (std::size_t j = 0; j < length; ++j) {
          const double *k = &qkv[(first + j) * 3 * h + h + head * c], *v = k + h;
          const double p = std::exp(scale * dot(q, k) - logsumexp[i * heads + head]);
          const double dp = mask[j] * dot(gradient, v);
          const double error =
              scale * (kUnit * std::abs(p * (dp - delta)) + kSingle * p * (std::abs(dp) + std::abs(delta)));
          double *dq = &bound[i * 3 * h + head * c], *dk = &bound[(first + j) * 3 * h + h + head * c];
          for (std::size_t x = 0; x < c; ++x) {
            dq[x] += error * std::abs(k[x]);
            dk[x] += error * std::abs(q[x]);
          }
        }
      }
    }
  }
  return bound;
}

/// All lengths around the edges of tiles (64), of warps and fragments (16) and of the streamed tiles (32).
const std::vector<std::int32_t> kLengths = {17, 300, 1, 64, 15, 130, 65, 16, 63};

class Attention : public ::testing::TestWithParam<std::tuple<int, double>> {
 protected:
  Sizes sizes{2, std::get<0>(GetParam())};
  Dropout dropout{std::get<1>(GetParam()), 0x1234567890ABCDEFu, 7, 3};
  PackedRows batch{kLengths};
  std::vector<double> qkv = random_numbers<bfloat16>(batch.rows() * 3 * sizes.hidden(), 1);
  std::vector<double> dout = random_numbers<bfloat16>(batch.rows() * sizes.hidden(), 2);
};

TEST_P(Attention, Fp32EqualsTheCpu) {
  const Result actual = cuda_passes<float>(batch, sizes, dropout, qkv, dout);
  std::vector<double> logsumexp;
  const std::vector<double> out = cpu_forward(batch, sizes, dropout, qkv, logsumexp);
  const std::vector<double> dqkv = cpu_backward(batch, sizes, dropout, qkv, out, logsumexp, dout);
  expect_near_largest(actual.out, out, 1e-5, "out");
  expect_near_largest(actual.logsumexp, logsumexp, 1e-5, "logsumexp");
  for (int part = 0; part < 3; ++part) {
    expect_near_largest(part_of(actual.dqkv, sizes.hidden(), part), part_of(dqkv, sizes.hidden(), part), 1e-5,
                        std::string("d") + "qkv"[part]);
  }
}

// In bf16 the sums Σ_j P_ij M_ij v_j have terms rounded once (P, u = 2⁻⁸ relative) and are rounded once
// themselves: |error of O| ≤ u Σ_j P_ij M_ij |v_j| + u |O|, and the CPU gives the sum of magnitudes for the
// values |V|. Likewise for dV with |dO|.
TEST_P(Attention, Bf16IsWithinItsRoundings) {
  const Result actual = cuda_passes<bfloat16>(batch, sizes, dropout, qkv, dout);
  std::vector<double> logsumexp, unused;
  const std::vector<double> out = cpu_forward(batch, sizes, dropout, qkv, logsumexp);
  expect_near_largest(actual.logsumexp, logsumexp, 1e-5, "logsumexp");

  std::vector<double> magnitudes = qkv;
  for (std::size_t i = 0; i < qkv.size(); ++i) {
    if (static_cast<std::int64_t>(i) % (3 * sizes.hidden()) >= 2 * sizes.hidden())
      magnitudes[i] = std::abs(qkv[i]);
  }
  std::vector<double> bound = cpu_forward(batch, sizes, dropout, magnitudes, unused);
  for (std::size_t i = 0; i < out.size(); ++i) {
    bound[i] = (kUnit + kSingle) * (1 + kUnit) * (bound[i] + std::abs(out[i])) + 1e-30;
  }
  expect_within(actual.out, out, bound, "out");

  // The backward pass is given the rounded output, so that δ is the same on both sides.
  const std::vector<double> dqkv = cpu_backward(batch, sizes, dropout, qkv, actual.out, logsumexp, dout);
  bound = gradient_bounds(batch, sizes, dropout, qkv, actual.out, logsumexp, dout, dqkv);
  const std::vector<double> sums =
      cpu_backward(batch, sizes, dropout, qkv, actual.out, logsumexp, absolute(dout));
  for (std::size_t i = 0; i < sums.size(); ++i) {
    if (static_cast<std::int64_t>(i) % (3 * sizes.hidden()) >= 2 * sizes.hidden()) {
      bound[i] = (kUnit + kSingle) * (1 + kUnit) * (sums[i] + std::abs(dqkv[i])) + 1e-30;
    }
  }
  for (int part = 0; part < 3; ++part) {
    expect_within(part_of(actual.dqkv, sizes.hidden(), part), part_of(dqkv, sizes.hidden(), part),
                  part_of(bound, sizes.hidden(), part), std::string("d") + "qkv"[part]);
  }
}

INSTANTIATE_TEST_SUITE_P(HeadSizes, Attention,
                         ::testing::Combine(::testing::Values(32, 64, 128), ::testing::Values(0.0, 0.1)));

TEST(AttentionBf16, GivesTheSameBitsInAnyOrderOfThreads) {
  const PackedRows batch({70, 33, 128});
  const Sizes sizes{1, 64};
  const Dropout dropout{0.2, 5, 1, 0};
  const std::vector<double> qkv = random_numbers<bfloat16>(batch.rows() * 3 * sizes.hidden(), 3);
  const std::vector<double> dout = random_numbers<bfloat16>(batch.rows() * sizes.hidden(), 4);
  std::vector<Result> results;
  in_both_thread_orders([&] { results.push_back(cuda_passes<bfloat16>(batch, sizes, dropout, qkv, dout)); });
  EXPECT_EQ(results[0].out, results[1].out);
  EXPECT_EQ(results[0].logsumexp, results[1].logsumexp);
  EXPECT_EQ(results[0].dqkv, results[1].dqkv);
}

// Scores of 8 · top for the first three keys, two less for one of them; at least 64 less for the others. All
// are exact in bf16 and fp32. e^score would overflow or be 0. Half a unit of fp32 is 2⁻¹⁰ there, which is
// then the relative error of the probabilities that the backward pass recomputes from the log-sum-exp.
template <class T>
void test_large_scores(double top, double tolerance) {
  constexpr std::int64_t kSize = 64, kLength = 100;
  const PackedRows batch({kLength});
  std::vector<double> qkv(3 * kSize * kLength, 0.0);
  for (std::size_t i = 0; i < kLength; ++i) {
    double* row = &qkv[3 * kSize * i];
    row[0] = 64, row[1] = 16;  // 1/√c is 1/8
    row[kSize] = i < 3 ? top : i < 90 ? top - 8 : -2048;
    row[kSize + 1] = i == 1 ? -1 : 0;
    row[2 * kSize] = i == 0 ? 1 : i == 1 ? 2 : i == 2 ? 4 : 1000;
  }
  const std::vector<double> dout(kSize * kLength, 1.0);
  const Result actual = cuda_passes<T>(batch, {1, kSize}, {}, qkv, dout);
  const double sum = 2 + std::exp(-2.0), expected = (1 + 2 * std::exp(-2.0) + 4) / sum;
  for (std::size_t i = 0; i < kLength; ++i) {
    EXPECT_NEAR(actual.out[kSize * i], expected, tolerance * expected) << i;
    EXPECT_NEAR(actual.logsumexp[i], 8 * top + std::log(sum), 0x1.0p-9) << i;
  }
  std::vector<double> logsumexp;
  const std::vector<double> out = cpu_forward(batch, {1, kSize}, {}, qkv, logsumexp);
  expect_near_largest(actual.dqkv, cpu_backward(batch, {1, kSize}, {}, qkv, out, logsumexp, dout),
                      4 * (tolerance + 0x1.0p-10), "dqkv");
}

TEST(AttentionFp32, TakesVeryLargeScores) {
  test_large_scores<float>(2048, 1e-5);
}
TEST(AttentionFp32, TakesVeryNegativeScores) {
  test_large_scores<float>(-2032, 1e-5);
}
TEST(AttentionBf16, TakesVeryLargeScores) {
  test_large_scores<bfloat16>(2048, 2 * kUnit);
}
TEST(AttentionBf16, TakesVeryNegativeScores) {
  test_large_scores<bfloat16>(-2032, 2 * kUnit);
}

TEST(AttentionWorkList, HasEveryTileOnceLongSequencesFirst) {
  const std::vector<std::int32_t> lengths = {1, 8192, 64, 0, 65, 8300, 300, 128};
  const PackedRows batch(lengths);
  DeviceBatch there(batch);
  const auto count = static_cast<std::size_t>(there.count.values()[0]);
  std::vector<AttentionTile> tiles = there.tiles.values();
  ASSERT_EQ(count, 1u + 128 + 1 + 2 + 130 + 5 + 2);
  ASSERT_LE(count, tiles.size());
  tiles.resize(count);
  std::vector<std::vector<std::int32_t>> rows(lengths.size());
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t sequence = 0;
    while (batch.offsets[sequence] != tiles[i].first || lengths[sequence] == 0) ++sequence;
    EXPECT_EQ(tiles[i].length, lengths[sequence]);
    rows[sequence].push_back(tiles[i].row);
    if (i == 0 || tiles[i].length >= 8192) continue;  // 128 tiles and more are one class
    EXPECT_LE((tiles[i].length + 63) / 64, (tiles[i - 1].length + 63) / 64);
  }
  for (std::size_t sequence = 0; sequence < lengths.size(); ++sequence) {
    ASSERT_EQ(rows[sequence].size(), static_cast<std::size_t>((lengths[sequence] + 63) / 64));
    for (std::size_t i = 0; i < rows[sequence].size(); ++i)
      EXPECT_EQ(rows[sequence][i], 64 * static_cast<int>(i));
  }
}

TEST(AttentionErrors, NamesAHeadSizeWithoutKernel) {
  const PackedRows batch({4});
  const std::vector<double> qkv(3 * 48 * 4), dout(48 * 4);
  EXPECT_THROW(cuda_passes<float>(batch, {1, 48}, {}, qkv, dout), Error);
  EXPECT_THROW(cuda_passes<bfloat16>(batch, {1, 48}, {}, qkv, dout), Error);
}

}  // namespace
}  // namespace toller
