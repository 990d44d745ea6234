// Memory, timing and rooflines for benchmarks of CUDA kernels. Times are those between two CUDA events around
// several launches, so that the time between the host's calls does not count.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/matrix_product.h"

namespace toller {

template <class T>
inline constexpr const char* kTypeName = std::is_same_v<T, bfloat16> ? "bf16" : "float";

/// Device memory, freed at the end.
template <class T>
class DeviceValues {
 public:
  explicit DeviceValues(std::int64_t size) : size_(size) {
    check_cuda(cudaMalloc(&data_, bytes()), "cudaMalloc");
    check_cuda(cudaMemset(data_, 0, bytes()), "cudaMemset");
  }
  explicit DeviceValues(const std::vector<T>& values)
      : DeviceValues(static_cast<std::int64_t>(values.size())) {
    check_cuda(cudaMemcpy(data_, values.data(), bytes(), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  DeviceValues(const DeviceValues&) = delete;
  DeviceValues& operator=(const DeviceValues&) = delete;
  ~DeviceValues() { cudaFree(data_); }

  T* data() { return data_; }
  std::int64_t size() const { return size_; }
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

  /// The first `count` elements.
  std::vector<T> first(std::int64_t count) const {
    std::vector<T> values(static_cast<std::size_t>(std::min(count, size_)));
    check_cuda(cudaMemcpy(values.data(), data_, values.size() * sizeof(T), cudaMemcpyDeviceToHost),
               "cudaMemcpy");
    return values;
  }

 private:
  std::int64_t size_;
  T* data_ = nullptr;
};

template <class T>
T stored(float x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return __float2bfloat16_rn(x);
  } else {
    return x;
  }
}

template <class T>
double as_double(T x) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return __bfloat162float(x);
  } else {
    return static_cast<double>(x);
  }
}

/// Normal numbers, 65,521 (a prime) of them over and over again.
template <class T>
void fill_random(DeviceValues<T>& values, unsigned seed, float spread = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<T> block(static_cast<std::size_t>(std::min<std::int64_t>(values.size(), 65521)));
  for (T& value : block) value = stored<T>(normal(generator));
  check_cuda(cudaMemcpy(values.data(), block.data(), block.size() * sizeof(T), cudaMemcpyHostToDevice),
             "cudaMemcpy");
  for (auto done = static_cast<std::int64_t>(block.size()); done < values.size(); done *= 2) {
    const auto more = static_cast<std::size_t>(std::min(done, values.size() - done));
    check_cuda(cudaMemcpy(values.data() + done, values.data(), more * sizeof(T), cudaMemcpyDeviceToDevice),
               "cudaMemcpy");
  }
}

template <class T>
class RandomValues : public DeviceValues<T> {
 public:
  RandomValues(std::int64_t size, unsigned seed, float spread = 1) : DeviceValues<T>(size) {
    fill_random(*this, seed, spread);
  }
};

/// Throws unless the beginning of `values` is finite and not all zero: a kernel that wrote nothing is not
/// timed.
template <class T>
void require_results(const DeviceValues<T>& values, const char* name) {
  bool any = false;
  for (const T value : values.first(1 << 20)) {
    const double x = as_double(value);
    if (!std::isfinite(x)) throw std::runtime_error(std::string(name) + " has an element that is not finite");
    any = any || x != 0;
  }
  if (!any) throw std::runtime_error(std::string(name) + " is zero throughout");
}

/// Two events on the default stream.
class EventTimer {
 public:
  EventTimer() {
    check_cuda(cudaEventCreate(&begin_), "cudaEventCreate");
    check_cuda(cudaEventCreate(&end_), "cudaEventCreate");
  }
  EventTimer(const EventTimer&) = delete;
  EventTimer& operator=(const EventTimer&) = delete;
  ~EventTimer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }

  /// Seconds of one of `launches` calls of work().
  template <class Body>
  double seconds(int launches, const Body& work) {
    check_cuda(cudaEventRecord(begin_, nullptr), "cudaEventRecord");
    for (int i = 0; i < launches; ++i) work();
    check_cuda(cudaEventRecord(end_, nullptr), "cudaEventRecord");
    check_cuda(cudaEventSynchronize(end_), "cudaEventSynchronize");
    float milliseconds = 0;
    check_cuda(cudaEventElapsedTime(&milliseconds, begin_, end_), "cudaEventElapsedTime");
    return std::max(1e-9, milliseconds * 1e-3 / launches);
  }

  template <class Body>
  double best_seconds(int tries, const Body& work) {
    work();
    double best = seconds(1, work);
    for (int i = 1; i < tries; ++i) best = std::min(best, seconds(1, work));
    return best;
  }

 private:
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

/// What a kernel must do at least.
struct Work {
  double bytes = 0;  ///< between the multiprocessors and memory
  double flops = 0;  ///< of matrix products
};

/// What this device reaches: a large copy, and large square products in bf16 and in float.
struct DeviceRates {
  double bytes_per_second = 0;
  double bf16_flops = 0, float_flops = 0;

  /// The time that the slower of the two needs at these rates.
  template <class T>
  double least_seconds(const Work& work) const {
    const double flops = std::is_same_v<T, bfloat16> ? bf16_flops : float_flops;
    return std::max(work.bytes / bytes_per_second, work.flops / flops);
  }
};

inline double measure_copy(std::int64_t bytes) {
  DeviceValues<unsigned char> from(bytes), to(bytes);
  const double seconds = EventTimer().best_seconds(10, [&] {
    check_cuda(cudaMemcpyAsync(to.data(), from.data(), from.bytes(), cudaMemcpyDeviceToDevice, nullptr),
               "cudaMemcpyAsync");
  });
  return 2 * static_cast<double>(bytes) / seconds;
}

template <class T>
double measure_product(std::int64_t size) {
  RandomValues<T> a(size * size, 1), b(size * size, 2);
  DeviceValues<T> c(size * size);
  MatrixProducts products(nullptr);
  const double seconds = EventTimer().best_seconds(10, [&] {
    products.multiply(false, true, size, size, size, 1, a.data(), size, b.data(), size, 0, c.data(), size);
  });
  require_results(c, "the matrix product");
  return 2.0 * static_cast<double>(size) * static_cast<double>(size) * static_cast<double>(size) / seconds;
}

}  // namespace toller
