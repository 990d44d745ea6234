// All pairs of a positive and a negative by way of a grid over the scores. With h the step, q = h/τ ≤ 1/16
// and z = (b − a)/τ, a function K(z) is interpolated in a and in b by polynomials of degree 5 over six
// points:
//   K((b − a)/τ) ≈ Σ_ij w_i(a) w_j(b) K((j − i) q),   error ≤ 2 · (225/64)/720 · q⁶ |K⁽⁶⁾| ≤ 6 · 10⁻¹⁰
//   |K⁽⁶⁾|.
// |K⁽⁶⁾| ≤ |K| for softplus where it is small (there it is e^z), so that the error is relative to each pair's
// own term. Deposits c_j = Σ_b w_j(b), added up as integers, take the place of the scores; what is left are
// convolutions of deposits with K = softplus, σ and z σ, here in time linear in the points:
//   near: chunks of 128 points against those up to kNearChunks away, term by term with a table of K;
//   far to the right: |z| > 32, K = z, 1, z but for e^−32: sums of c_j and j c_j;
//   far to the left: K = e^z, e^z, z e^z: sums carried from chunk to chunk, A ← E + e^{−128 q} A.
// Points whose outputs nobody reads (nothing was deposited there) are left out, and so are empty sources.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "device/cpu/mann_whitney.h"
#include "device/cpu/vector_math.h"

namespace toller {
namespace {

constexpr std::int64_t kChunk = 128, kNearChunks = 8;
/// Differences of places that the tables hold: (−kTableReach, kTableReach).
constexpr std::int64_t kTableReach = (kNearChunks + 1) * kChunk;
/// Scores that are placed in vector loops, before their weights go one by one to the grid.
constexpr std::int64_t kBlock = 64;
constexpr std::int64_t kParallelScores = 1 << 14;
constexpr int kWeights = 6;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A block of scores as the first of their six points, and Lagrange's weights there. −∞ has no weight.
template <class T>
struct PlacedBlock {
  std::int32_t first[kBlock];
  T weight[kWeights * kBlock];

  void place(std::int64_t n, const T* scores, const ScoreGrid& grid) {
    const T inverse_step = static_cast<T>(grid.inverse_step);
    const T shift = static_cast<T>(-2 - grid.origin), last = static_cast<T>(grid.points - kWeights);
    constexpr T kNone = -std::numeric_limits<T>::infinity();
    T rest[kBlock], whole[kBlock];
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      const T at = scores[i] == kNone ? T{0} : scores[i] * inverse_step;
      const T floor = std::floor(at);
      // The bound |s| ≤ largest_score leaves room for rounding; memory is safe in any case.
      T place = floor + shift;
      place = place > T{0} ? place : T{0};
      place = place < last ? place : last;
      first[i] = static_cast<std::int32_t>(place);
      rest[i] = at - floor;
      whole[i] = scores[i] == kNone ? T{0} : T{1};
    }
    // The polynomials over the points −2 … 3, at t in [0, 1).
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      const T t = rest[i], a = t + 2, b = t + 1, d = t - 1, e = t - 2, f = t - 3;
      const T def = d * e * f * whole[i], abt = a * b * t * whole[i];
      weight[i] = b * t * def * T(-1.0 / 120);
      weight[kBlock + i] = a * t * def * T(1.0 / 24);
      weight[2 * kBlock + i] = a * b * def * T(-1.0 / 12);
      weight[3 * kBlock + i] = abt * e * f * T(1.0 / 12);
      weight[4 * kBlock + i] = abt * d * f * T(-1.0 / 24);
      weight[5 * kBlock + i] = abt * d * e * T(1.0 / 120);
    }
  }
};

template <class T>
void deposit_serially(std::int64_t n, const T* scores, const ScoreGrid& grid, int fraction_bits,
                      std::int64_t* weight) {
  PlacedBlock<T> block;
  std::int64_t whole[kWeights * kBlock];
  const double scale = std::ldexp(1.0, fraction_bits);
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t size = std::min(kBlock, n - at);
    block.place(size, scores + at, grid);
    for (int k = 0; k < kWeights; ++k) {
#pragma omp simd
      for (std::int64_t i = 0; i < size; ++i) {
        // Truncation after adding ½ to the size rounds to nearest without a branch.
        const double x = static_cast<double>(block.weight[k * kBlock + i]) * scale;
        whole[k * kBlock + i] = static_cast<std::int64_t>(x + std::copysign(0.5, x));
      }
    }
    for (std::int64_t i = 0; i < size; ++i) {
      std::int64_t* to = weight + block.first[i];
      for (int k = 0; k < kWeights; ++k) to[k] += whole[k * kBlock + i];
    }
  }
}

/// K((j − i) q) for the places i of outputs and j of sources, by i − j: contiguous for neighbouring outputs.
struct KernelTable {
  std::vector<double> softplus, sigmoid, moment;

  explicit KernelTable(double q)
      : softplus(2 * kTableReach + 1), sigmoid(softplus.size()), moment(softplus.size()) {
    for (std::int64_t difference = -kTableReach; difference <= kTableReach; ++difference) {
      const double z = -static_cast<double>(difference) * q, e = std::exp(-std::abs(z));
      const auto at = static_cast<std::size_t>(difference + kTableReach);
      softplus[at] = (z > 0 ? z : 0) + std::log1p(e);
      sigmoid[at] = (z > 0 ? 1 : e) / (1 + e);
      moment[at] = z * sigmoid[at];
    }
  }
};

/// What the chunks to the right of a chunk, or to the left of it, add up to.
struct FarSums {
  double right_count = 0, right_place = 0;  ///< Σ c_j, Σ j c_j
  double left = 0, left_place = 0;  ///< A = Σ c_j e^{(j − end) q}, Σ c_j (j − end) e^{(j − end) q}
};

/// The deposits of one side in chunks, padded with zeros.
class ChunkedDeposits {
 public:
  ChunkedDeposits(std::int64_t points, const double* deposits, bool reversed, double q)
      : chunks_((points + kChunk - 1) / kChunk),
        deposit_(static_cast<std::size_t>(chunks_ * kChunk), 0.0),
        filled_(static_cast<std::size_t>(chunks_)) {
    if (reversed) {
      std::reverse_copy(deposits, deposits + points, deposit_.begin());
    } else {
      std::copy_n(deposits, points, deposit_.begin());
    }
    for (std::int64_t c = 0; c < chunks_; ++c) {
      filled_[c] = std::any_of(chunk(c), chunk(c) + kChunk, [](double x) { return x != 0; });
    }
    add_up(q);
  }

  std::int64_t chunks() const { return chunks_; }
  const double* chunk(std::int64_t c) const { return deposit_.data() + c * kChunk; }
  bool filled(std::int64_t c) const { return filled_[c] != 0; }
  /// Of the chunks more than kNearChunks away from c.
  const FarSums& far(std::int64_t c) const { return far_[c]; }

 private:
  void add_up(double q) {
    std::vector<FarSums> own(static_cast<std::size_t>(chunks_));
    for (std::int64_t c = 0; c < chunks_; ++c) {
      for (std::int64_t k = 0; filled(c) && k < kChunk; ++k) {
        const double x = chunk(c)[k], before_end = static_cast<double>(k - kChunk);
        const double e = x * std::exp(before_end * q);
        own[c].right_count += x;
        own[c].right_place += x * static_cast<double>(c * kChunk + k);
        own[c].left += e;
        own[c].left_place += before_end * e;
      }
    }
    far_.resize(static_cast<std::size_t>(chunks_));
    const double width = kChunk, decay = std::exp(-width * q);
    FarSums sums;
    for (std::int64_t c = 0; c < chunks_; ++c) {
      const std::int64_t source = c - kNearChunks - 1;
      if (source >= 0) {
        sums.left_place = own[source].left_place + decay * (sums.left_place - width * sums.left);
        sums.left = own[source].left + decay * sums.left;
      }
      far_[c] = sums;
    }
    for (std::int64_t c = chunks_ - 1; c >= 0; --c) {
      const std::int64_t source = c + kNearChunks + 1;
      if (source < chunks_) {
        sums.right_count += own[source].right_count;
        sums.right_place += own[source].right_place;
      }
      far_[c].right_count = sums.right_count;
      far_[c].right_place = sums.right_place;
    }
  }

  std::int64_t chunks_;
  std::vector<double> deposit_;
  std::vector<char> filled_;
  std::vector<FarSums> far_;
};

void add_near(const ChunkedDeposits& sources, std::int64_t c, const std::vector<double>& table,
              double* outputs) {
  const std::int64_t first = std::max<std::int64_t>(0, c - kNearChunks);
  const std::int64_t last = std::min(sources.chunks() - 1, c + kNearChunks);
  for (std::int64_t s = first; s <= last; ++s) {
    if (!sources.filled(s)) continue;
    for (std::int64_t j = 0; j < kChunk; ++j) {
      const double x = sources.chunk(s)[j];
      if (x == 0) continue;
      const double* kernel = table.data() + kTableReach + (c - s) * kChunk - j;
#pragma omp simd
      for (std::int64_t i = 0; i < kChunk; ++i) outputs[i] += x * kernel[i];
    }
  }
}

/// Σ_j c_j σ((j − i) q) for the points i of chunk c.
void sigmoid_sums(const ChunkedDeposits& sources, std::int64_t c, const KernelTable& table, double q,
                  double* outputs) {
  const FarSums& far = sources.far(c);
  for (std::int64_t i = 0; i < kChunk; ++i) {
    const auto distance = static_cast<double>(kNearChunks * kChunk + i);
    outputs[i] = far.right_count + far.left * std::exp(-distance * q);
  }
  add_near(sources, c, table.sigmoid, outputs);
}

/// Σ_j c_j softplus((j − i) q) and Σ_j c_j (j − i) q σ((j − i) q).
void softplus_sums(const ChunkedDeposits& sources, std::int64_t c, const KernelTable& table, double q,
                   double* softplus, double* moment) {
  const FarSums& far = sources.far(c);
  for (std::int64_t i = 0; i < kChunk; ++i) {
    const auto place = static_cast<double>(c * kChunk + i);
    const auto distance = static_cast<double>(kNearChunks * kChunk + i);
    const double right = q * (far.right_place - place * far.right_count), e = std::exp(-distance * q);
    softplus[i] = right + far.left * e;
    moment[i] = right + q * (far.left_place - distance * far.left) * e;
  }
  add_near(sources, c, table.softplus, softplus);
  add_near(sources, c, table.moment, moment);
}

/// slope = factor · Σ_j c_j σ at the points where something was deposited on the other side (`reader`); 0
/// elsewhere. Both sides are reversed where `reversed`.
template <class T>
void make_slopes(const ChunkedDeposits& sources, const ChunkedDeposits& reader, const KernelTable& table,
                 double q, double factor, std::int64_t points, bool reversed, T* slope) {
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t c = 0; c < sources.chunks(); ++c) {
    double outputs[kChunk] = {};
    if (reader.filled(c)) sigmoid_sums(sources, c, table, q, outputs);
    for (std::int64_t i = c * kChunk; i < std::min(points, (c + 1) * kChunk); ++i) {
      slope[reversed ? points - 1 - i : i] = static_cast<T>(factor * outputs[i - c * kChunk]);
    }
  }
}

}  // namespace

ScoreGrid lay_grid(const double* norms, double inverse_temperature, std::int64_t capacity) {
  ScoreGrid grid{kNaN, inverse_temperature, norms[0] * norms[1], 0, 0};
  // The scores' own rounding takes less than this.
  const double largest = grid.largest_score * (1 + 0x1p-10);
  const double least = 16 * inverse_temperature;
  if (!std::isfinite(largest) || !std::isfinite(least)) return grid;
  int exponent = 0;
  const bool power = std::frexp(least, &exponent) == 0.5;
  const double inverse_step = std::ldexp(1.0, power ? exponent - 1 : exponent);
  const double half = std::ceil(largest * inverse_step) + 3;
  grid.points = half < 0x1p60 ? 2 * static_cast<std::int64_t>(half) + 1 : std::int64_t{1} << 62;
  if (grid.points > capacity) return grid;
  grid.inverse_step = inverse_step;
  grid.origin = -static_cast<std::int64_t>(half);
  return grid;
}

template <class T>
double largest_norm(std::int64_t rows, std::int64_t columns, const T* x) {
  double largest = 0;
  for (std::int64_t i = 0; i < rows; ++i) {
    double squares = 0;
#pragma omp simd reduction(+ : squares)
    for (std::int64_t j = 0; j < columns; ++j) {
      squares += static_cast<double>(x[i * columns + j]) * static_cast<double>(x[i * columns + j]);
    }
    if (!std::isfinite(squares)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, squares);
  }
  return std::sqrt(largest);
}

template <class T>
void deposit(std::int64_t n, const T* scores, const ScoreGrid& grid, int fraction_bits,
             std::int64_t* weight) {
  if (std::isnan(grid.inverse_step)) return;
  // Every thread has its own grid where the scores are many more than the points.
  if (n < kParallelScores || n < 8 * grid.points) {
    deposit_serially(n, scores, grid, fraction_bits, weight);
    return;
  }
  constexpr std::int64_t kPart = 64 * kBlock;
#pragma omp parallel
  {
    std::vector<std::int64_t> own(static_cast<std::size_t>(grid.points), 0);
#pragma omp for schedule(static)
    for (std::int64_t at = 0; at < n; at += kPart) {
      deposit_serially(std::min(kPart, n - at), scores + at, grid, fraction_bits, own.data());
    }
#pragma omp critical(toller_deposit)
    for (std::int64_t j = 0; j < grid.points; ++j) weight[j] += own[j];
  }
}

template <class T>
void pair_on_grid(const GridPairs<T>& pairs, const ScoreGrid& grid) {
  if (std::isnan(grid.inverse_step)) {
    *pairs.value = *pairs.log_temperature = kNaN;
    return;
  }
  const std::int64_t points = grid.points;
  const double q = grid.inverse_temperature / grid.inverse_step;
  const double count = pairs.count[0] * pairs.count[1], share = count > 0 ? 1 / count : 0;
  const KernelTable table(q);
  const ChunkedDeposits positive(points, pairs.positive, false, q),
      negative(points, pairs.negative, false, q);
  make_slopes(negative, positive, table, q, -share, points, false, pairs.positive_slope);
  // ∂L/∂b meets the positives to the left of b as ∂L/∂a the negatives to the right of a: the mirror image.
  {
    const ChunkedDeposits mirrored_positive(points, pairs.positive, true, q);
    const ChunkedDeposits mirrored_negative(points, pairs.negative, true, q);
    make_slopes(mirrored_positive, mirrored_negative, table, q, share * grid.inverse_temperature, points,
                true, pairs.negative_slope);
  }
  std::vector<double> value(static_cast<std::size_t>(positive.chunks()), 0.0), moment(value);
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t c = 0; c < positive.chunks(); ++c) {
    if (!positive.filled(c)) continue;
    double softplus[kChunk], with_z[kChunk];
    softplus_sums(negative, c, table, q, softplus, with_z);
    for (std::int64_t i = 0; i < kChunk; ++i) {
      value[c] += positive.chunk(c)[i] * softplus[i];
      moment[c] += positive.chunk(c)[i] * with_z[i];
    }
  }
  double total = 0, total_moment = 0;
  for (std::size_t c = 0; c < value.size(); ++c) {
    total += value[c];
    total_moment += moment[c];
  }
  *pairs.value = share * total;
  *pairs.log_temperature = -share * total_moment;
}

template <class T, class Result>
void read_slopes(std::int64_t n, const T* scores, const ScoreGrid& grid, const T* slope, Result* result) {
  if (std::isnan(grid.inverse_step)) {
    std::fill_n(result, n, static_cast<Result>(kNaN));
    return;
  }
#pragma omp parallel for schedule(static) if (n >= kParallelScores)
  for (std::int64_t at = 0; at < n; at += kBlock) {
    const std::int64_t size = std::min(kBlock, n - at);
    PlacedBlock<T> block;
    block.place(size, scores + at, grid);
    T sum[kBlock] = {};
    for (int k = 0; k < kWeights; ++k) {
#pragma omp simd
      for (std::int64_t i = 0; i < size; ++i) {
        sum[i] += block.weight[k * kBlock + i] * slope[block.first[i] + k];
      }
    }
    for (std::int64_t i = 0; i < size; ++i) result[at + i] = static_cast<Result>(sum[i]);
  }
}

#define TOLLER_INSTANTIATE(T)                                                             \
  template double largest_norm<T>(std::int64_t, std::int64_t, const T*);                  \
  template void deposit<T>(std::int64_t, const T*, const ScoreGrid&, int, std::int64_t*); \
  template void pair_on_grid<T>(const GridPairs<T>&, const ScoreGrid&);                   \
  template void read_slopes<T, T>(std::int64_t, const T*, const ScoreGrid&, const T*, T*);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE
template void read_slopes<float, double>(std::int64_t, const float*, const ScoreGrid&, const float*, double*);

}  // namespace toller
