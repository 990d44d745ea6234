#include "device/cpu/cpu_ops.h"

#include <cmath>
#include <cstdlib>
#include <cstring>

#include "error.h"

namespace toller {
namespace {

constexpr std::int64_t kElementBlock = 1 << 16;

}  // namespace

template <class T>
void* CpuOps<T>::allocate(std::size_t bytes) {
  const std::size_t rounded = (bytes + 63) / 64 * 64;
  void* memory = std::aligned_alloc(64, rounded == 0 ? 64 : rounded);
  if (memory == nullptr) fail("out of memory: {} MiB could not be allocated", bytes >> 20);
  return memory;
}

template <class T>
void CpuOps<T>::release(void* memory) {
  std::free(memory);
}

template <class T>
void CpuOps<T>::zero(T* x, std::int64_t n) {
#pragma omp parallel for schedule(static)
  for (std::int64_t begin = 0; begin < n; begin += kElementBlock) {
    std::memset(x + begin, 0, sizeof(T) * std::min(kElementBlock, n - begin));
  }
}

template <class T>
void CpuOps<T>::scale(T* x, std::int64_t n, T factor) {
#pragma omp parallel for simd schedule(static)
  for (std::int64_t i = 0; i < n; ++i) x[i] *= factor;
}

template <class T>
void CpuOps<T>::add_partials(std::int64_t blocks, std::int64_t n, const T* partial, T* total) {
  for (std::int64_t block = 0; block < blocks; ++block) {
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) total[i] += partial[block * n + i];
  }
}

template <class T>
void CpuOps<T>::add_column_sums(std::int64_t rows, std::int64_t columns, const T* x, T* sums) {
  const std::int64_t blocks = row_blocks(rows);
  partial_.assign(static_cast<std::size_t>(blocks * columns), T{0});
#pragma omp parallel for schedule(static)
  for (std::int64_t block = 0; block < blocks; ++block) {
    T* sum = partial_.data() + block * columns;
    const std::int64_t last = std::min(rows, (block + 1) * kRowBlock);
    for (std::int64_t row = block * kRowBlock; row < last; ++row) {
      const T* values = x + row * columns;
#pragma omp simd
      for (std::int64_t i = 0; i < columns; ++i) sum[i] += values[i];
    }
  }
  add_partials(blocks, columns, partial_.data(), sums);
}

template <class T>
double CpuOps<T>::squared_norm(const T* x, std::int64_t n) {
  const std::int64_t blocks = (n + kElementBlock - 1) / kElementBlock;
  std::vector<double> sums(static_cast<std::size_t>(blocks));
#pragma omp parallel for schedule(static)
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t last = std::min(n, (block + 1) * kElementBlock);
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = block * kElementBlock; i < last; ++i) {
      sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    }
    sums[block] = sum;
  }
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

template <class T>
void CpuOps<T>::adamw(std::int64_t n, const T* gradient, const AdamWStep& step, T* parameter, T* m, T* v) {
  const T beta1 = static_cast<T>(step.beta1), beta2 = static_cast<T>(step.beta2);
  const T rest1 = static_cast<T>(1 - step.beta1), rest2 = static_cast<T>(1 - step.beta2);
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  const T rate = static_cast<T>(step.learning_rate / correction1);
  const T inverse_root = static_cast<T>(1 / std::sqrt(correction2));
  const T shrink = static_cast<T>(1 - step.learning_rate * step.weight_decay);
  const T scale = static_cast<T>(step.gradient_scale);
  const T epsilon = static_cast<T>(step.epsilon);
#pragma omp parallel for simd schedule(static)
  for (std::int64_t i = 0; i < n; ++i) {
    const T g = gradient[i] * scale;
    const T m_new = beta1 * m[i] + rest1 * g;
    const T v_new = beta2 * v[i] + rest2 * g * g;
    m[i] = m_new;
    v[i] = v_new;
    parameter[i] = parameter[i] * shrink - rate * m_new / (std::sqrt(v_new) * inverse_root + epsilon);
  }
}

template <class T>
std::unique_ptr<Ops<T>> make_cpu_ops() {
  return std::make_unique<CpuOps<T>>();
}

template class CpuOps<float>;
template class CpuOps<double>;
template std::unique_ptr<Ops<float>> make_cpu_ops<float>();
template std::unique_ptr<Ops<double>> make_cpu_ops<double>();

}  // namespace toller
