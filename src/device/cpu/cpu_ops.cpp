#include "device/cpu/cpu_ops.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "error.h"

namespace toller {
namespace {

constexpr std::int64_t kElementBlock = 1 << 16;
constexpr std::size_t kByteBlock = 1 << 18;

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
void CpuOps<T>::zero_bytes(void* memory, std::size_t bytes) {
#pragma omp parallel for schedule(static)
  for (std::size_t begin = 0; begin < bytes; begin += kByteBlock) {
    std::memset(static_cast<std::byte*>(memory) + begin, 0, std::min(kByteBlock, bytes - begin));
  }
}

template <class T>
void CpuOps<T>::copy_bytes(const void* from, std::size_t bytes, void* to) {
  std::memcpy(to, from, bytes);
}

template <class T>
void CpuOps<T>::copy_to_host(void* host, const void* device, std::size_t bytes) {
  std::memcpy(host, device, bytes);
}

template <class T>
void CpuOps<T>::copy_to_device(void* device, const void* host, std::size_t bytes) {
  std::memcpy(device, host, bytes);
}

template <class T>
std::int64_t CpuOps<T>::start_read(const void* device, std::size_t bytes) {
  const auto* first = static_cast<const std::byte*>(device);
  auto free = std::ranges::find_if(results_, [](const auto& result) { return result.empty(); });
  if (free == results_.end()) free = results_.emplace(free);
  free->assign(first, first + bytes);
  return free - results_.begin();
}

template <class T>
void CpuOps<T>::finish_read(std::int64_t ticket, void* host) {
  std::ranges::copy(results_[ticket], static_cast<std::byte*>(host));
  results_[ticket].clear();
}

template <class T>
std::int64_t CpuOps<T>::free_bytes() const {
  return static_cast<std::int64_t>(sysconf(_SC_AVPHYS_PAGES)) * sysconf(_SC_PAGESIZE);
}

template <class T>
void CpuOps<T>::scale(T* x, std::int64_t n, double factor) {
  const T by = static_cast<T>(factor);
#pragma omp parallel for simd schedule(static)
  for (std::int64_t i = 0; i < n; ++i) x[i] *= by;
}

template <class T>
void CpuOps<T>::convert(std::int64_t n, const T* from, T* to) {
  std::copy_n(from, n, to);
}

template <class T>
void CpuOps<T>::add_scalar(const double* x, double factor, T* y) {
  *y += static_cast<T>(factor * *x);
}

template <class T>
void CpuOps<T>::clamp_scalar(T* x, double low, double high) {
  *x = std::clamp(*x, static_cast<T>(low), static_cast<T>(high));
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
void CpuOps<T>::squared_norm(const T* x, std::int64_t n, double* result) {
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
  *result = total;
}

template <class T>
void CpuOps<T>::adamw(std::span<const DecaySlice> slices, const T* gradient, const AdamWStep& step,
                      const GradientClip& clip, T* parameter, T* m, T* v, T*) {
  const double norm = clip.squared_norm != nullptr ? std::sqrt(*clip.squared_norm) : 0;
  if (!std::isfinite(norm)) return;
  const T beta1 = static_cast<T>(step.beta1), beta2 = static_cast<T>(step.beta2);
  const T rest1 = static_cast<T>(1 - step.beta1), rest2 = static_cast<T>(1 - step.beta2);
  const double correction1 = 1 - std::pow(step.beta1, static_cast<double>(step.step));
  const double correction2 = 1 - std::pow(step.beta2, static_cast<double>(step.step));
  const T rate = static_cast<T>(step.learning_rate / correction1);
  const T inverse_root = static_cast<T>(1 / std::sqrt(correction2));
  const T scale = static_cast<T>(clip.clip_norm > 0 && norm > clip.clip_norm ? clip.clip_norm / norm : 1);
  const T epsilon = static_cast<T>(step.epsilon);
  for (const DecaySlice& slice : slices) {
    const T shrink = static_cast<T>(1 - (slice.decay ? step.learning_rate * step.weight_decay : 0));
#pragma omp parallel for simd schedule(static)
    for (std::int64_t i = slice.offset; i < slice.offset + slice.size; ++i) {
      const T g = gradient[i] * scale;
      const T m_new = beta1 * m[i] + rest1 * g;
      const T v_new = beta2 * v[i] + rest2 * g * g;
      m[i] = m_new;
      v[i] = v_new;
      parameter[i] = parameter[i] * shrink - rate * m_new / (std::sqrt(v_new) * inverse_root + epsilon);
    }
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
