// The two floating-point types of 16 bits, as bits: to float exactly, and from float to the nearest, ties to
// even.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace toller {

inline float float_from_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Infinite for finite values of 2^128 - 2^119 and more; not for NaN.
inline std::uint16_t bfloat16_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction.
inline float float_from_half(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  if (exponent == 0) {  // zero, or fraction · 2^-24
    const float size = std::ldexp(static_cast<float>(fraction), -24);
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(size) | sign);
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xff : exponent + 112;  // biases: 127 - 15
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

/// Infinite for values of 65520 and more; not for NaN.
inline std::uint16_t half_from_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const std::uint32_t size = bits & 0x7fffffff;
  if (size >= 0x477ff000) return sign | 0x7c00;  // 65520
  if (size < 0x38800000) {                       // below 2^-14: a multiple of 2^-24
    return sign | static_cast<std::uint16_t>(std::nearbyint(std::ldexp(std::bit_cast<float>(size), 24)));
  }
  const std::uint32_t rounded = size + 0xfff + (size >> 13 & 1);
  return sign | static_cast<std::uint16_t>((rounded - 0x38000000) >> 13);
}

}  // namespace toller
