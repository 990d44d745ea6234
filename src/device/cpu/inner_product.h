// The inner product of two arrays, in one vector loop.
#pragma once

#include <cstdint>

namespace toller {

/// Σ_i a_i b_i, products and sum in `Sum`.
template <class Sum, class T>
Sum inner_product(std::int64_t n, const T* a, const T* b) {
  Sum sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += static_cast<Sum>(a[i]) * static_cast<Sum>(b[i]);
  return sum;
}

}  // namespace toller
