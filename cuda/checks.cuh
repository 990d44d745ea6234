// Checks of the flat buffers (Ops::count_not_finite, Ops::content_hash). All pointers are device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace toller {

/// If total [1] is not finite: count[i] = elements of x[bounds[i]] … x[bounds[i + 1] − 1] that are not
/// finite, for i < parts. Else nothing is changed.
void count_not_finite(const double* total, const float* x, const std::int64_t* bounds, std::int64_t parts,
                      std::int64_t* count, cudaStream_t stream);

/// result [1] += Σ element_hash(i, bits of x[i]) modulo 2⁶⁴ (device/content_hash.h).
void add_content_hash(std::int64_t n, const float* x, std::uint64_t* result, cudaStream_t stream);

}  // namespace toller
