// Embeddings cut to their first numbers, on the CPU (ScoreOps).
#pragma once

#include <cstdint>

namespace toller {

template <class T>
void cpu_cut_rows(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x, T* norm, T* cut);
template <class T>
void cpu_add_cut_gradient(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                          const T* norm, const T* d_cut, T* dx);

}  // namespace toller
