// Device memory for the tests of kernels, and how results are held against the CPU's.
//
// The reference is the CPU operation in double on the very numbers that the kernel reads (rounded to its
// storage type first). A kernel calculates in float: an element may differ by kFloatError of its size and of
// the reference's root mean square (sums that cancel lose digits with the size of their terms). Every
// rounding to bfloat16, which keeps 8 significant bits, adds at most 2⁻⁸ of the element.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda/bfloat16.cuh"
#include "cuda/execution_model.h"
#include "cuda/launch.cuh"

namespace toller {

inline constexpr double kFloatError = 1e-5;
inline constexpr double kBfloat16Error = 0x1p-8;

template <class T>
std::vector<double> to_doubles(const std::vector<T>& values) {
  std::vector<double> result;
  for (const T& value : values) {
    if constexpr (std::is_arithmetic_v<T>) {
      result.push_back(static_cast<double>(value));
    } else {
      result.push_back(static_cast<double>(to_float(value)));
    }
  }
  return result;
}

/// The values as a kernel with this storage type reads them.
template <class T>
std::vector<T> to_storage(const std::vector<double>& values) {
  std::vector<T> result;
  for (const double value : values) result.push_back(from_float<T>(static_cast<float>(value)));
  return result;
}

template <class T>
std::vector<double> rounded(const std::vector<double>& values) {
  return to_doubles(to_storage<T>(values));
}

/// Normal numbers that are T's already.
template <class T>
std::vector<double> random_numbers(std::int64_t n, unsigned seed, double mean = 0) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(mean);
  std::vector<double> values(static_cast<std::size_t>(n));
  for (double& value : values) value = normal(generator);
  return rounded<T>(values);
}

/// The bits of a bfloat16.
inline std::uint16_t bits_of(bfloat16 x) {
  return std::bit_cast<std::uint16_t>(x);
}

/// An allocation, freed at the end. Memory that is not set holds NaNs.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::int64_t size)
      : size_(static_cast<std::size_t>(size)), memory_(size_ * sizeof(T)) {}
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(static_cast<std::int64_t>(values.size())) {
    if (values.empty()) return;
    check_cuda(cudaMemcpy(data(), values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");  // for streams that do not wait for others
  }

  T* data() { return static_cast<T*>(static_cast<void*>(memory_.get())); }
  /// As they are when everything that is queued has been done.
  std::vector<T> values() const {
    std::vector<T> values(size_);
    if (size_ == 0) return values;
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
    check_cuda(cudaMemcpy(values.data(), memory_.get(), size_ * sizeof(T), cudaMemcpyDeviceToHost),
               "cudaMemcpy");
    return values;
  }
  std::vector<double> doubles() const { return to_doubles(values()); }

 private:
  std::size_t size_;
  GuardedMemory memory_;
};

/// The numbers rounded to T, on the device.
template <class T>
DeviceArray<T> on_device(const std::vector<double>& values) {
  return DeviceArray<T>(to_storage<T>(values));
}

/// Root mean square.
inline double typical_size(const std::vector<double>& values) {
  double squares = 0;
  for (const double value : values) squares += value * value;
  return std::sqrt(squares / static_cast<double>(values.size()));
}

/// Every element of `result`, rounded to T once after a calculation in float, against the reference. `terms`
/// is the size of the terms that a result is the sum of, where the reference itself may be much smaller.
template <class T>
void expect_near(const std::vector<double>& result, const std::vector<double>& reference,
                 const std::string& name, double terms = 0) {
  ASSERT_EQ(result.size(), reference.size()) << name;
  const double typical = std::max(terms, typical_size(reference));
  const double rounding = std::is_same_v<T, bfloat16> ? kBfloat16Error : 0;
  for (std::size_t i = 0; i < result.size(); ++i) {
    const double bound = (kFloatError + rounding) * std::abs(reference[i]) + kFloatError * typical;
    ASSERT_LE(std::abs(result[i] - reference[i]), bound)  // false for NaN
        << name << "[" << i << "] is " << result[i] << ", the CPU has " << reference[i];
  }
}

using StorageTypes = testing::Types<float, bfloat16>;

}  // namespace toller
