// Integers in the order of the doubles, so that a maximum of integers is one of doubles, and exact: IEEE 754
// bits, those of negative numbers reflected. NaN is above infinity. floats go by way of double.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace toller {

inline std::int64_t ordered_bits(double value) {
  constexpr std::int64_t kLargest = std::numeric_limits<std::int64_t>::max();  // the bits of a NaN
  if (std::isnan(value)) return kLargest;
  const auto bits = std::bit_cast<std::int64_t>(value);
  return bits < 0 ? bits ^ kLargest : bits;
}

inline double from_ordered_bits(std::int64_t bits) {
  return std::bit_cast<double>(bits < 0 ? bits ^ std::numeric_limits<std::int64_t>::max() : bits);
}

}  // namespace toller
