// Checks of the flat buffers (Ops::count_not_finite, Ops::content_hash).
#include <bit>
#include <cmath>
#include <type_traits>

#include "device/content_hash.h"
#include "device/cpu/cpu_ops.h"

namespace toller {

template <class T>
void CpuOps<T>::count_not_finite(const double* total, const T* x, const std::int64_t* bounds,
                                 std::int64_t parts, std::int64_t* count) {
  if (std::isfinite(*total)) return;
#pragma omp parallel for schedule(dynamic)
  for (std::int64_t part = 0; part < parts; ++part) {
    std::int64_t found = 0;
    for (std::int64_t i = bounds[part]; i < bounds[part + 1]; ++i) found += std::isfinite(x[i]) ? 0 : 1;
    count[part] = found;
  }
}

template <class T>
void CpuOps<T>::content_hash(const T* x, std::int64_t n, std::uint64_t* result) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
  std::uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) {
    sum += element_hash(static_cast<std::uint64_t>(i), std::bit_cast<Bits>(x[i]));
  }
  *result = sum;
}

template class CpuOps<float>;
template class CpuOps<double>;

}  // namespace toller
