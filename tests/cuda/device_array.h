// Device memory for the tests of kernels, and how results are held against the CPU's.
//
// The reference is the CPU operation in double on the very numbers that the kernel reads (rounded to its
// storage type first). A kernel calculates in float: an element may differ by kFloatError of its size and of
// the reference's root mean square (sums that cancel lose digits with the size of their terms). Every
// rounding to bfloat16, which keeps 8 significant bits, adds at most 2⁻⁸ of the element.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "cuda/bfloat16.cuh"
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

/// An allocation, freed at the end. Memory that is not set holds NaNs.
template <class T>
class DeviceArray {
 public:
  explicit DeviceArray(std::int64_t size) : size_(static_cast<std::size_t>(size)) {
    check_cuda(cudaMalloc(&data_, size_ * sizeof(T)), "cudaMalloc");
  }
  explicit DeviceArray(const std::vector<T>& values) : DeviceArray(static_cast<std::int64_t>(values.size())) {
    if (values.empty()) return;
    check_cuda(cudaMemcpy(data_, values.data(), size_ * sizeof(T), cudaMemcpyHostToDevice), "cudaMemcpy");
  }
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  ~DeviceArray() { EXPECT_EQ(cudaFree(data_), cudaSuccess); }

  T* data() { return data_; }
  std::vector<T> values() const {
    std::vector<T> values(size_);
    if (size_ == 0) return values;
    check_cuda(cudaMemcpy(values.data(), data_, size_ * sizeof(T), cudaMemcpyDeviceToHost), "cudaMemcpy");
    return values;
  }
  std::vector<double> doubles() const { return to_doubles(values()); }

 private:
  std::size_t size_;
  T* data_ = nullptr;
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

/// Runs the body with the threads of every block in both orders: what depends on the order is wrong.
template <class Body>
void in_both_thread_orders(Body body) {
  for (const auto order : {host_cuda::ThreadOrder::kAscending, host_cuda::ThreadOrder::kDescending}) {
    host_cuda::set_thread_order(order);
    SCOPED_TRACE(order == host_cuda::ThreadOrder::kAscending ? "ascending threads" : "descending threads");
    body();
  }
  host_cuda::set_thread_order(host_cuda::ThreadOrder::kAscending);
}

using StorageTypes = testing::Types<float, bfloat16>;

}  // namespace toller
