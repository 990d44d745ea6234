// Cut rows, a row a thread at a time.
#include "device/cpu/cut_rows.h"

#include <cmath>

#include "device/cpu/inner_product.h"

namespace toller {
namespace {

template <class T>
T inverse_norm(T norm) {
  return norm == T{0} ? T{0} : T{1} / norm;
}

}  // namespace

template <class T>
void cpu_cut_rows(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x, T* norm, T* cut) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* row = x + i * dimension;
    T scale = 1;
    if (norm != nullptr) {
      norm[i] = std::sqrt(inner_product<T>(kept, row, row));
      scale = inverse_norm(norm[i]);
    }
    for (std::int64_t j = 0; j < kept; ++j) cut[i * kept + j] = row[j] * scale;
  }
}

template <class T>
void cpu_add_cut_gradient(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                          const T* norm, const T* d_cut, T* dx) {
#pragma omp parallel for schedule(static)
  for (std::int64_t i = 0; i < rows; ++i) {
    const T *row = x + i * dimension, *d = d_cut + i * kept;
    T scale = 1, along = 0;
    if (norm != nullptr) {
      scale = inverse_norm(norm[i]);
      along = inner_product<T>(kept, row, d) * scale * scale;
    }
    for (std::int64_t j = 0; j < kept; ++j) dx[i * dimension + j] += (d[j] - row[j] * along) * scale;
  }
}

#define TOLLER_INSTANTIATE(T)                                                                         \
  template void cpu_cut_rows<T>(std::int64_t, std::int64_t, std::int64_t, const T*, T*, T*);          \
  template void cpu_add_cut_gradient<T>(std::int64_t, std::int64_t, std::int64_t, const T*, const T*, \
                                        const T*, T*);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
