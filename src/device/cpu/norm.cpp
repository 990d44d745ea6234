// Embedding lookup and the end of a sublayer (bias, dropout, residual, layer norm), each one pass over its
// rows.
//   norm: y = (s − mean) · rstd · gain + bias,  rstd = 1 / √(var + ε), var the mean of squares about the mean
//   backward, with x̂ = (s − mean) · rstd and g = dy ∘ gain:  ds = rstd · (g − ⟨g⟩ − x̂ ⟨g ∘ x̂⟩),  ⟨·⟩ the row
//   mean
#include <cmath>
#include <vector>

#include "device/cpu/cpu_ops.h"
#include "device/cpu/dropout.h"
#include "device/token_places.h"

namespace toller {
namespace {

template <class T>
void norm_row(std::int64_t hidden, const T* s, const T* gain, const T* bias, T epsilon, T& mean, T& rstd,
              T* y) {
  T total = 0;
#pragma omp simd reduction(+ : total)
  for (std::int64_t i = 0; i < hidden; ++i) total += s[i];
  const T centre = total / static_cast<T>(hidden);
  T squares = 0;
#pragma omp simd reduction(+ : squares)
  for (std::int64_t i = 0; i < hidden; ++i) squares += (s[i] - centre) * (s[i] - centre);
  const T scale = T{1} / std::sqrt(squares / static_cast<T>(hidden) + epsilon);
#pragma omp simd
  for (std::int64_t i = 0; i < hidden; ++i) y[i] = (s[i] - centre) * scale * gain[i] + bias[i];
  mean = centre;
  rstd = scale;
}

/// ds of one row; adds the row's share to dgain and dbias. ds may be dy.
template <class T>
void norm_row_backward(std::int64_t hidden, const T* dy, const T* s, T mean, T rstd, const T* gain, T* ds,
                       T* dgain, T* dbias) {
  T sum = 0, sum_scaled = 0;
#pragma omp simd reduction(+ : sum, sum_scaled)
  for (std::int64_t i = 0; i < hidden; ++i) {
    const T unit = (s[i] - mean) * rstd;
    const T g = dy[i] * gain[i];
    sum += g;
    sum_scaled += g * unit;
    dgain[i] += dy[i] * unit;
    dbias[i] += dy[i];
  }
  sum /= static_cast<T>(hidden);
  sum_scaled /= static_cast<T>(hidden);
#pragma omp simd
  for (std::int64_t i = 0; i < hidden; ++i) {
    ds[i] = rstd * (dy[i] * gain[i] - sum - (s[i] - mean) * rstd * sum_scaled);
  }
}

template <class T>
void multiply(std::int64_t n, const T* x, const T* scale, T* y) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * scale[i];
}

/// Calls body(block, row) for every row; the rows of a block on one thread, in order.
template <class Body>
void for_rows(std::int64_t rows, Body body) {
#pragma omp parallel for schedule(static)
  for (std::int64_t block = 0; block < row_blocks(rows); ++block) {
    const std::int64_t last = std::min(rows, (block + 1) * kRowBlock);
    for (std::int64_t row = block * kRowBlock; row < last; ++row) body(block, row);
  }
}

/// Scratch of one row for the calling thread.
template <class T>
T* row_scratch(std::int64_t n) {
  thread_local std::vector<T> scratch;
  if (static_cast<std::int64_t>(scratch.size()) < n) scratch.resize(static_cast<std::size_t>(n));
  return scratch.data();
}

}  // namespace

template <class T>
void CpuOps<T>::embed(const PackedSequences& sequences, std::int64_t hidden, const T* word, const T* position,
                      const T* type, const T* gain, const T* bias, double epsilon, const Dropout& dropout,
                      T* sum, T* mean, T* rstd, T* y) {
  const std::vector<std::int32_t> places = token_places(sequences);
  for_rows(sequences.tokens, [&](std::int64_t, std::int64_t row) {
    T* s = sum + row * hidden;
    const T* w = word + static_cast<std::int64_t>(sequences.token[row]) * hidden;
    const T* p = position + static_cast<std::int64_t>(places[row]) * hidden;
#pragma omp simd
    for (std::int64_t i = 0; i < hidden; ++i) s[i] = w[i] + p[i];
    if (type != nullptr) {
#pragma omp simd
      for (std::int64_t i = 0; i < hidden; ++i) s[i] += type[i];
    }
    norm_row(hidden, s, gain, bias, static_cast<T>(epsilon), mean[row], rstd[row], y + row * hidden);
    if (dropout.rate > 0) {
      T* scale = row_scratch<T>(hidden);
      dropout_scales(dropout, sequences.global_row[row], hidden, hidden, scale);
      multiply(hidden, y + row * hidden, scale, y + row * hidden);
    }
  });
}

template <class T>
void CpuOps<T>::embed_backward(const PackedSequences& sequences, std::int64_t hidden, T* dy, const T* sum,
                               const T* mean, const T* rstd, const T* gain, const Dropout& dropout, T* dword,
                               T* dposition, T* dtype, T* dgain, T* dbias) {
  const std::int64_t blocks = row_blocks(sequences.tokens);
  partial_.assign(static_cast<std::size_t>(blocks * 2 * hidden), T{0});
  for_rows(sequences.tokens, [&](std::int64_t block, std::int64_t row) {
    T* d = dy + row * hidden;
    if (dropout.rate > 0) {
      T* scale = row_scratch<T>(hidden);
      dropout_scales(dropout, sequences.global_row[row], hidden, hidden, scale);
      multiply(hidden, d, scale, d);
    }
    T* sums = partial_.data() + block * 2 * hidden;
    norm_row_backward(hidden, d, sum + row * hidden, mean[row], rstd[row], gain, d, sums, sums + hidden);
  });
  for (std::int64_t block = 0; block < blocks; ++block) {
    add_partials(1, hidden, partial_.data() + block * 2 * hidden, dgain);
    add_partials(1, hidden, partial_.data() + block * 2 * hidden + hidden, dbias);
  }
  if (dtype != nullptr) add_column_sums(sequences.tokens, hidden, dy, dtype);

  // Rows of the tables are hit by several tokens: threads share out the columns, so that each sum has one
  // owner and one order.
  const std::vector<std::int32_t> places = token_places(sequences);
  constexpr std::int64_t kColumns = 64;
#pragma omp parallel for schedule(static)
  for (std::int64_t first = 0; first < hidden; first += kColumns) {
    const std::int64_t last = std::min(hidden, first + kColumns);
    for (std::int64_t row = 0; row < sequences.tokens; ++row) {
      T* w = dword + static_cast<std::int64_t>(sequences.token[row]) * hidden;
      T* p = dposition + static_cast<std::int64_t>(places[row]) * hidden;
      const T* d = dy + row * hidden;
#pragma omp simd
      for (std::int64_t i = first; i < last; ++i) {
        w[i] += d[i];
        p[i] += d[i];
      }
    }
  }
}

template <class T>
void CpuOps<T>::residual_norm(const PackedSequences& sequences, std::int64_t hidden, T* x, const T* x_bias,
                              const T* residual, const T* gain, const T* bias, double epsilon,
                              const Dropout& dropout, T* mean, T* rstd, T* y) {
  for_rows(sequences.tokens, [&](std::int64_t, std::int64_t row) {
    T* s = x + row * hidden;
    const T* r = residual + row * hidden;
    if (dropout.rate > 0) {
      T* scale = row_scratch<T>(hidden);
      dropout_scales(dropout, sequences.global_row[row], hidden, hidden, scale);
#pragma omp simd
      for (std::int64_t i = 0; i < hidden; ++i) s[i] = r[i] + scale[i] * (s[i] + x_bias[i]);
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < hidden; ++i) s[i] = r[i] + (s[i] + x_bias[i]);
    }
    norm_row(hidden, s, gain, bias, static_cast<T>(epsilon), mean[row], rstd[row], y + row * hidden);
  });
}

template <class T>
void CpuOps<T>::residual_norm_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy,
                                       const T* sum, const T* mean, const T* rstd, const T* gain,
                                       const Dropout& dropout, T* dsum, T* dx, T* dgain, T* dbias) {
  const std::int64_t blocks = row_blocks(sequences.tokens);
  partial_.assign(static_cast<std::size_t>(blocks * 2 * hidden), T{0});
  for_rows(sequences.tokens, [&](std::int64_t block, std::int64_t row) {
    T* ds = dsum + row * hidden;
    T* sums = partial_.data() + block * 2 * hidden;
    norm_row_backward(hidden, dy + row * hidden, sum + row * hidden, mean[row], rstd[row], gain, ds, sums,
                      sums + hidden);
    if (dropout.rate > 0) {
      T* scale = row_scratch<T>(hidden);
      dropout_scales(dropout, sequences.global_row[row], hidden, hidden, scale);
      multiply(hidden, ds, scale, dx + row * hidden);
    } else if (dx != dsum) {
      std::copy(ds, ds + hidden, dx + row * hidden);
    }
  });
  for (std::int64_t block = 0; block < blocks; ++block) {
    add_partials(1, hidden, partial_.data() + block * 2 * hidden, dgain);
    add_partials(1, hidden, partial_.data() + block * 2 * hidden + hidden, dbias);
  }
}

template class CpuOps<float>;
template class CpuOps<double>;

}  // namespace toller
