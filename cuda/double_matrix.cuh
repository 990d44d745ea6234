// Dense matrices in double, row-major, on device memory: what the Wasserstein loss needs for a matrix with a
// row a query (ScoreOps). Every function only puts kernels on the stream; sums have a fixed order.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace toller {

/// c [rows, n] = a [rows, n] b [n, n].
void multiply_doubles(std::int64_t rows, std::int64_t n, const double* a, const double* b, double* c,
                      cudaStream_t stream);

/// c [n, n] = factor · aᵀ a, a [rows, n]; exactly symmetric, 0 without rows.
void gram_doubles(std::int64_t rows, std::int64_t n, double factor, const double* a, double* c,
                  cudaStream_t stream);

/// x [n, n] += value · I.
void add_to_diagonal(std::int64_t n, double value, double* x, cudaStream_t stream);

/// x [rows, n] −= the mean of its row.
void center_rows(std::int64_t rows, std::int64_t n, double* x, cudaStream_t stream);

/// sums [n] = column sums of x [rows, n].
void double_column_sums(std::int64_t rows, std::int64_t n, const double* x, double* sums,
                        cudaStream_t stream);

/// Every row of x [rows, n] += factor · row [n].
void add_to_rows(std::int64_t rows, std::int64_t n, double factor, const double* row, double* x,
                 cudaStream_t stream);

/// x [n] /= √squared_norm [0]; all 0 where that is 0.
void divide_by_norm(std::int64_t n, const double* squared_norm, double* x, cudaStream_t stream);

/// Doubles of workspace for inner_product.
std::int64_t inner_product_workspace(std::int64_t n);

/// result [1] = Σ a b; b null: Σ a.
void inner_product(std::int64_t n, const double* a, const double* b, double* result, double* workspace,
                   cudaStream_t stream);

}  // namespace toller
