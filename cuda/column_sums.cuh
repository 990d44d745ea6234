// Sums over rows: gradients of biases, gains and tables.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace toller {

/// Floats of workspace for column_sums.
std::int64_t column_sums_workspace(std::int64_t rows, std::int64_t columns);

/// sums [columns] += column sums of x [rows, columns]; the same bits for the same input.
template <class T>
void column_sums(std::int64_t rows, std::int64_t columns, const T* x, float* sums, float* workspace,
                 cudaStream_t stream);

/// total [columns] += Σ_p partial [p · stride + i], p below `parts`, in a fixed order.
void add_partials(std::int64_t parts, std::int64_t columns, std::int64_t stride, const float* partial,
                  float* total, cudaStream_t stream);

}  // namespace toller
