// Linear layers. OpenBLAS clears or scales C before it accumulates; C filled with the bias and beta = 1 makes
// the bias free. GELU runs on a block of rows while the block is still in the second-level cache.
#include "device/cpu/cpu_ops.h"
#include "device/cpu/vector_math.h"

namespace toller {
namespace {

template <class T>
void fill_rows(std::int64_t rows, std::int64_t columns, const T* bias, T* y) {
  for (std::int64_t row = 0; row < rows; ++row) std::copy(bias, bias + columns, y + row * columns);
}

/// y [rows, out] = x wᵀ + bias for one block of rows, on the calling thread.
template <class T>
void linear_block(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w, const T* bias,
                  T* y) {
  if (bias != nullptr) fill_rows(rows, out, bias, y);
  blas_gemm(CblasNoTrans, CblasTrans, rows, out, in, T{1}, x, in, w, in, bias != nullptr ? T{1} : T{0}, y,
            out);
}

template <class T>
void gelu(std::int64_t n, const T* x, T* y) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = T(0.5) * x[i] * (T(1) + vector_erf(x[i] * T(0.70710678118654752440)));
  }
}

/// dx ∘= gelu'(x) = Φ(x) + x φ(x).
template <class T>
void multiply_gelu_derivative(std::int64_t n, const T* x, T* dx) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const T cdf = T(0.5) * (T(1) + vector_erf(x[i] * T(0.70710678118654752440)));
    const T pdf = T(0.39894228040143267794) * vector_exp(T(-0.5) * x[i] * x[i]);
    dx[i] *= cdf + x[i] * pdf;
  }
}

/// Calls body(first row, rows) for every block of rows, blocks shared out to the threads.
template <class Body>
void for_row_blocks(std::int64_t rows, Body body) {
#pragma omp parallel for schedule(static)
  for (std::int64_t block = 0; block < row_blocks(rows); ++block) {
    const std::int64_t first = block * kRowBlock;
    body(first, std::min(kRowBlock, rows - first));
  }
}

}  // namespace

template <class T>
void CpuOps<T>::gemm(bool transpose_a, bool transpose_b, std::int64_t m, std::int64_t n, std::int64_t k,
                     const T* a, std::int64_t lda, const T* b, std::int64_t ldb, double beta, T* c,
                     std::int64_t ldc) {
  if (m == 0 || n == 0) return;
  blas_gemm(transpose_a ? CblasTrans : CblasNoTrans, transpose_b ? CblasTrans : CblasNoTrans, m, n, k, T{1},
            a, lda, b, ldb, static_cast<T>(beta), c, ldc);
}

template <class T>
void CpuOps<T>::linear(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                       const T* bias, T* y) {
  for_row_blocks(rows, [=](std::int64_t first, std::int64_t count) {
    linear_block(count, in, out, x + first * in, w, bias, y + first * out);
  });
}

template <class T>
void CpuOps<T>::linear_gelu(std::int64_t rows, std::int64_t in, std::int64_t out, const T* x, const T* w,
                            const T* bias, T* pre, T* y) {
  for_row_blocks(rows, [=](std::int64_t first, std::int64_t count) {
    linear_block(count, in, out, x + first * in, w, bias, pre + first * out);
    gelu(count * out, pre + first * out, y + first * out);
  });
}

template <class T>
void CpuOps<T>::linear_backward_parameters(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                           const T* x, T* dw, T* dbias) {
  gemm(true, false, out, in, rows, dy, out, x, in, 1, dw, in);
  add_column_sums(rows, out, dy, dbias);
}

template <class T>
void CpuOps<T>::linear_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                      const T* w, T* dx, bool accumulate) {
  for_row_blocks(rows, [=](std::int64_t first, std::int64_t count) {
    blas_gemm(CblasNoTrans, CblasNoTrans, count, in, out, T{1}, dy + first * out, out, w, in,
              accumulate ? T{1} : T{0}, dx + first * in, in);
  });
}

template <class T>
void CpuOps<T>::linear_gelu_backward_input(std::int64_t rows, std::int64_t in, std::int64_t out, const T* dy,
                                           const T* w, const T* pre, T* dpre) {
  for_row_blocks(rows, [=](std::int64_t first, std::int64_t count) {
    blas_gemm(CblasNoTrans, CblasNoTrans, count, in, out, T{1}, dy + first * out, out, w, in, T{0},
              dpre + first * in, in);
    multiply_gelu_derivative(count * in, pre + first * in, dpre + first * in);
  });
}

template class CpuOps<float>;
template class CpuOps<double>;

}  // namespace toller
