// From token states to one embedding a sequence, and to unit length.
#include <cmath>
#include <cstring>

#include "device/cpu/cpu_ops.h"

namespace toller {

template <class T>
void CpuOps<T>::pool_mean(const PackedSequences& sequences, std::int64_t hidden, const T* x, T* y) {
#pragma omp parallel for schedule(static)
  for (std::int64_t s = 0; s < sequences.count; ++s) {
    T* out = y + s * hidden;
    std::memset(out, 0, sizeof(T) * static_cast<std::size_t>(hidden));
    for (std::int64_t t = sequences.offsets[s]; t < sequences.offsets[s + 1]; ++t) {
#pragma omp simd
      for (std::int64_t i = 0; i < hidden; ++i) out[i] += x[t * hidden + i];
    }
    const T scale = T{1} / static_cast<T>(sequences.offsets[s + 1] - sequences.offsets[s]);
#pragma omp simd
    for (std::int64_t i = 0; i < hidden; ++i) out[i] *= scale;
  }
}

template <class T>
void CpuOps<T>::pool_mean_backward(const PackedSequences& sequences, std::int64_t hidden, const T* dy,
                                   T* dx) {
#pragma omp parallel for schedule(static)
  for (std::int64_t s = 0; s < sequences.count; ++s) {
    const T scale = T{1} / static_cast<T>(sequences.offsets[s + 1] - sequences.offsets[s]);
    for (std::int64_t t = sequences.offsets[s]; t < sequences.offsets[s + 1]; ++t) {
#pragma omp simd
      for (std::int64_t i = 0; i < hidden; ++i) dx[t * hidden + i] = scale * dy[s * hidden + i];
    }
  }
}

template <class T>
void CpuOps<T>::pool_token(const PackedSequences& sequences, std::int64_t hidden, bool last, const T* x,
                           T* y) {
#pragma omp parallel for schedule(static)
  for (std::int64_t s = 0; s < sequences.count; ++s) {
    const std::int64_t token = last ? sequences.offsets[s + 1] - 1 : sequences.offsets[s];
    std::copy(x + token * hidden, x + (token + 1) * hidden, y + s * hidden);
  }
}

template <class T>
void CpuOps<T>::pool_token_backward(const PackedSequences& sequences, std::int64_t hidden, bool last,
                                    const T* dy, T* dx) {
  this->zero(dx, sequences.tokens * hidden);
#pragma omp parallel for schedule(static)
  for (std::int64_t s = 0; s < sequences.count; ++s) {
    const std::int64_t token = last ? sequences.offsets[s + 1] - 1 : sequences.offsets[s];
    std::copy(dy + s * hidden, dy + (s + 1) * hidden, dx + token * hidden);
  }
}

template <class T>
void CpuOps<T>::normalize_rows(std::int64_t rows, std::int64_t hidden, const T* x, T* norm, T* y) {
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < rows; ++row) {
    const T* in = x + row * hidden;
    T squares = 0;
#pragma omp simd reduction(+ : squares)
    for (std::int64_t i = 0; i < hidden; ++i) squares += in[i] * in[i];
    norm[row] = std::sqrt(squares);
    const T scale = norm[row] > 0 || std::isnan(norm[row]) ? T{1} / norm[row] : T{0};
#pragma omp simd
    for (std::int64_t i = 0; i < hidden; ++i) y[row * hidden + i] = in[i] * scale;
  }
}

template <class T>
void CpuOps<T>::normalize_rows_backward(std::int64_t rows, std::int64_t hidden, const T* dy, const T* y,
                                        const T* norm, T* dx) {
#pragma omp parallel for schedule(static)
  for (std::int64_t row = 0; row < rows; ++row) {
    const T *d = dy + row * hidden, *unit = y + row * hidden;
    T along = 0;
#pragma omp simd reduction(+ : along)
    for (std::int64_t i = 0; i < hidden; ++i) along += d[i] * unit[i];
    const T scale = norm[row] > 0 || std::isnan(norm[row]) ? T{1} / norm[row] : T{0};
#pragma omp simd
    for (std::int64_t i = 0; i < hidden; ++i) dx[row * hidden + i] = (d[i] - unit[i] * along) * scale;
  }
}

template class CpuOps<float>;
template class CpuOps<double>;

}  // namespace toller
