// The attention kernels against the CPU's fp64 attention.
#include "cuda/attention.cuh"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
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
/// Room for what is done in fp32 (scores, exponentials, sums) and for second-order terms: 2⁻²³ for each of up
/// to 512 additions, of which tensor cores may cut off the last bits, and 2⁻²² for an exponential.
constexpr double kSingle = 0x1.0p-14;
/// The same for the products of two rows of a head, which are sums of up to 128 terms, 16 at a time, and may
/// be much smaller than these.
constexpr double kDotError = 0x1.0p-20;

/// ⟨a, b⟩, and the sum of its terms' sizes.
struct Dot {
  double value = 0, size = 0;

  Dot(std::int64_t n, const double* a, const double* b) {
    for (std::int64_t i = 0; i < n; ++i) {
      value += a[i] * b[i];
      size += std::abs(a[i] * b[i]);
    }
  }
};

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
  check_guards("after attention");
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

/// How far dS = P (dP − δ), where dP = mask · `product`, may be off: u of itself, for its rounding to the
/// storage type, and what the fp32 arithmetic of P, dP and δ makes of it.
double error_of_ds(double u, double p, double mask, const Dot& product, const Dot& delta) {
  const double dp = mask * product.value;
  return u * std::abs(p * (dp - delta.value)) + kSingle * p * (std::abs(dp) + std::abs(delta.value)) +
         kDotError * p * (mask * product.size + delta.size);
}

/// How far dQ and dK in bf16 may be off. Their only roundings to bf16 are those of dS and of the result; the
/// sums carry an error E_ij of dS on: Σ_j E_ij |K_j|/√c + u |dQ_i|, likewise for dK.
std::vector<double> gradient_bounds(const PackedRows& batch, const Sizes& sizes, const Dropout& dropout,
                                    const std::vector<double>& qkv, const std::vector<double>& out,
                                    const std::vector<double>& logsumexp, const std::vector<double>& dout,
                                    const std::vector<double>& dqkv) {
  const auto h = static_cast<std::size_t>(sizes.hidden()), c = static_cast<std::size_t>(sizes.size);
  const auto heads = static_cast<std::size_t>(sizes.heads);
  const double scale = 1 / std::sqrt(static_cast<double>(c));
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
        const Dot delta(sizes.size, gradient, &out[i * h + head * c]);
        for (std::size_t j = 0; j < length; ++j) {
          const double *k = &qkv[(first + j) * 3 * h + h + head * c], *v = k + h;
          const double p = std::exp(scale * Dot(sizes.size, q, k).value - logsumexp[i * heads + head]);
          const double error = scale * error_of_ds(kUnit, p, mask[j], Dot(sizes.size, gradient, v), delta);
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

/// What is expected of rows of a result; of the others, nothing but that they are numbers.
struct ExpectedRows {
  std::vector<double> value, bound;

  explicit ExpectedRows(std::size_t n) : value(n), bound(n, std::numeric_limits<double>::infinity()) {}
};

/// One head of a sequence, row by row in double by plain loops, where going through every pair of rows would
/// take too long. δ is that of the kernel's own output, as in the tests above, and a key's row takes the
/// kernel's own log-sum-exps, which are tested where they belong to a query's row. Roundings to the storage
/// type are off by u, 0 for float.
class HeadRows {
 public:
  HeadRows(const PackedRows& batch, const Sizes& sizes, const Dropout& dropout,
           const std::vector<double>& qkv, const std::vector<double>& dout, const Result& actual, double u,
           std::size_t sequence, std::int64_t head)
      : sizes_(sizes),
        dropout_(dropout),
        batch_(batch),
        qkv_(qkv),
        dout_(dout),
        actual_(actual),
        u_(u),
        first_(batch.offsets[sequence]),
        length_(batch.offsets[sequence + 1] - first_),
        head_(head) {}

  void expect_query(std::int64_t i, ExpectedRows& out, ExpectedRows& logsumexp, ExpectedRows& dqkv) const {
    std::vector<double> p(static_cast<std::size_t>(length_));
    double sum = 0;  // scores are far from where exp ends
    for (std::int64_t j = 0; j < length_; ++j) sum += p[j] = std::exp(score(i, j));
    logsumexp.value[statistic(i)] = std::log(sum);
    logsumexp.bound[statistic(i)] = 1e-5 * std::abs(std::log(sum)) + kSingle;
    const Dot delta = delta_of(i);
    Sums o(sizes_.size), dq(sizes_.size);
    for (std::int64_t j = 0; j < length_; ++j) {
      const double mask = mask_of(i, j);
      const Dot product(sizes_.size, gradient(i), part(j, 2));
      p[j] /= sum;
      o.add(p[j] * mask, (u_ + kSingle) * p[j] * mask, part(j, 2));
      dq.add(scale() * p[j] * (mask * product.value - delta.value),
             scale() * error_of_ds(u_, p[j], mask, product, delta), part(j, 1));
    }
    o.expect(u_ + kSingle, out, row_of_head(i));
    dq.expect(u_, dqkv, row_of_qkv(i, 0));
  }

  void expect_key(std::int64_t j, ExpectedRows& dqkv) const {
    Sums dk(sizes_.size), dv(sizes_.size);
    for (std::int64_t i = 0; i < length_; ++i) {
      const double mask = mask_of(i, j), p = std::exp(score(i, j) - actual_.logsumexp[statistic(i)]);
      const Dot product(sizes_.size, gradient(i), part(j, 2)), delta = delta_of(i);
      dv.add(p * mask, (u_ + kSingle) * p * mask, gradient(i));
      dk.add(scale() * p * (mask * product.value - delta.value),
             scale() * error_of_ds(u_, p, mask, product, delta), part(i, 0));
    }
    dk.expect(u_, dqkv, row_of_qkv(j, 1));
    dv.expect(u_ + kSingle, dqkv, row_of_qkv(j, 2));
  }

 private:
  /// Σ factor · x, and a bound of its error, Σ error · |x|.
  struct Sums {
    std::vector<double> value, error;

    explicit Sums(std::int64_t n) : value(static_cast<std::size_t>(n)), error(value) {}
    void add(double factor, double factor_error, const double* x) {
      for (std::size_t i = 0; i < value.size(); ++i) {
        value[i] += factor * x[i];
        error[i] += factor_error * std::abs(x[i]);
      }
    }
    /// After a last rounding by `own` of itself.
    void expect(double own, ExpectedRows& rows, std::size_t at) const {
      for (std::size_t i = 0; i < value.size(); ++i) {
        rows.value[at + i] = value[i];
        rows.bound[at + i] = (1 + kUnit) * (error[i] + own * std::abs(value[i])) + 1e-30;
      }
    }
  };

  double scale() const { return 1 / std::sqrt(static_cast<double>(sizes_.size)); }
  std::size_t statistic(std::int64_t i) const {
    return static_cast<std::size_t>((first_ + i) * sizes_.heads + head_);
  }
  std::size_t row_of_head(std::int64_t i) const {
    return static_cast<std::size_t>((first_ + i) * sizes_.hidden() + head_ * sizes_.size);
  }
  std::size_t row_of_qkv(std::int64_t i, int part) const {
    return static_cast<std::size_t>((3 * (first_ + i) + part) * sizes_.hidden() + head_ * sizes_.size);
  }
  const double* part(std::int64_t i, int which) const { return &qkv_[row_of_qkv(i, which)]; }
  const double* gradient(std::int64_t i) const { return &dout_[row_of_head(i)]; }
  double score(std::int64_t i, std::int64_t j) const {
    return scale() * Dot(sizes_.size, part(i, 0), part(j, 1)).value;
  }
  Dot delta_of(std::int64_t i) const { return {sizes_.size, gradient(i), &actual_.out[row_of_head(i)]}; }
  /// A mask of 64 columns is a group of columns of a wide one (device/cpu/dropout.h).
  double mask_of(std::int64_t i, std::int64_t j) const {
    if (dropout_.rate == 0) return 1;
    const std::int64_t groups = (batch_.sequences.length_limit + 63) / 64;
    const std::int64_t row = batch_.global_rows[static_cast<std::size_t>(first_ + i)] * sizes_.heads + head_;
    std::array<double, 64> scales;
    dropout_scales(dropout_, row * groups + j / 64, 64, 64, scales.data());
    return scales[static_cast<std::size_t>(j % 64)];
  }

  Sizes sizes_;
  Dropout dropout_;
  const PackedRows& batch_;
  const std::vector<double>&qkv_, &dout_;
  const Result& actual_;
  double u_;
  std::int64_t first_, length_, head_;
};

/// On a GPU lengths of up to 8192, the edges of tiles among them; by emulation what takes seconds.
class LongAttention : public ::testing::TestWithParam<std::tuple<int, double>> {
 protected:
  /// One row of every tile of 64, in every place of a tile.
  template <class T>
  void expect_rows(double u) const {
    const Result actual = cuda_passes<T>(batch, sizes, dropout, qkv, dout);
    ExpectedRows out(actual.out.size()), logsumexp(actual.logsumexp.size()), dqkv(actual.dqkv.size());
    for (std::size_t sequence = 0; sequence + 1 < batch.offsets.size(); ++sequence) {
      const std::int64_t length = batch.offsets[sequence + 1] - batch.offsets[sequence];
      for (std::int64_t head = 0; head < sizes.heads; ++head) {
        const HeadRows rows(batch, sizes, dropout, qkv, dout, actual, u, sequence, head);
#pragma omp parallel for schedule(dynamic)
        for (std::int64_t begin = 0; begin < length; begin += 64) {
          const std::int64_t row = std::min(begin + (begin / 64 * 37 + 11) % 64, length - 1);
          rows.expect_query(row, out, logsumexp, dqkv);
          rows.expect_key(row, dqkv);
        }
      }
    }
    expect_within(actual.out, out.value, out.bound, "out");
    expect_within(actual.logsumexp, logsumexp.value, logsumexp.bound, "logsumexp");
    expect_within(actual.dqkv, dqkv.value, dqkv.bound, "dqkv");
  }

  Sizes sizes{std::get<0>(GetParam()) == 64 ? 1 : 2, std::get<0>(GetParam())};
  Dropout dropout{std::get<1>(GetParam()), 0x1234567890ABCDEFu, 7, 3};
  PackedRows batch{kOnGpu ? std::vector<std::int32_t>{8192, 511, 1, 2049, 513, 512}
                          : std::vector<std::int32_t>{1100}};
  std::vector<double> qkv = random_numbers<bfloat16>(batch.rows() * 3 * sizes.hidden(), 1);
  std::vector<double> dout = random_numbers<bfloat16>(batch.rows() * sizes.hidden(), 2);
};

TEST_P(LongAttention, Fp32IsWithinItsSums) {
  expect_rows<float>(0);
}

TEST_P(LongAttention, Bf16IsWithinItsRoundings) {
  expect_rows<bfloat16>(kUnit);
}

std::vector<std::tuple<int, double>> long_cases() {
  if (!kOnGpu) return {{64, 0.1}};
  return {{32, 0.0}, {32, 0.1}, {64, 0.0}, {64, 0.1}, {128, 0.0}, {128, 0.1}};
}
INSTANTIATE_TEST_SUITE_P(HeadSizes, LongAttention, ::testing::ValuesIn(long_cases()));

TEST(AttentionBf16, GivesTheSameBitsAgainInAnyOrderOfThreads) {
  const PackedRows batch({70, 33, 128});
  const Sizes sizes{1, 64};
  const Dropout dropout{0.2, 5, 1, 0};
  const std::vector<double> qkv = random_numbers<bfloat16>(batch.rows() * 3 * sizes.hidden(), 3);
  const std::vector<double> dout = random_numbers<bfloat16>(batch.rows() * sizes.hidden(), 4);
  std::vector<Result> results;
  for (int run = 0; run < 2; ++run) {
    in_both_thread_orders(
        [&] { results.push_back(cuda_passes<bfloat16>(batch, sizes, dropout, qkv, dout)); });
  }
  for (const Result& result : results) {
    EXPECT_EQ(result.out, results[0].out);
    EXPECT_EQ(result.logsumexp, results[0].logsumexp);
    EXPECT_EQ(result.dqkv, results[0].dqkv);
  }
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
