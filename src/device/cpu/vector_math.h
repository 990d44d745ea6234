// exp and erf without branches, for `#pragma omp simd` loops: the float forms compile to straight vector
// code, the double forms call the C library (fp64 is for tests of gradients).
//
// Polynomials are minimax fits (Lawson's iteration in fp64, then rounded to float); errors in units in the
// last place, measured over the float line by tests/device/vector_math_test.cpp:
//   exp: x = n ln 2 + r, |r| ≤ ln 2 / 2, e^r = 1 + r + r² q(r); at most 1.0.
//   erf: |x| < 0.9: x + x p(x²); else 1 − exp(−g(|x|)), g fitted to −log erfc on [0.9, 4]; at most 1.5.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace toller {

/// e^x. Results below the smallest normal float (x < −87.3365) are 0: subnormal numbers slow a loop down
/// a hundredfold. Overflow gives infinity, NaN stays NaN.
inline float vector_exp(float x) {
  constexpr float kLowest = -87.3365f, kHighest = 89.0f;
  constexpr float kLog2E = 1.44269504088896341f;
  constexpr float kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;  // n · kLn2High is exact
  constexpr float kRound = 12582912.0f;  // 1.5 · 2²³: adding it leaves the rounded integer in the low bits
  float clamped = x < kLowest ? kLowest : x;
  clamped = clamped > kHighest ? kHighest : clamped;
  const float shifted = clamped * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (clamped - n * kLn2High) - n * kLn2Low;
  float q = 1.381454e-3f;
  q = q * r + 8.368745e-3f;
  q = q * r + 4.166839e-2f;
  q = q * r + 1.6666521e-1f;
  q = q * r + 4.9999994e-1f;
  const float power = (r * r) * q + r + 1.0f;
  // 2^n in two factors, since n = 128 is out of a float's range where the product is not.
  const std::int32_t exponent = std::bit_cast<std::int32_t>(shifted) - std::bit_cast<std::int32_t>(kRound);
  const std::int32_t half = exponent >> 1;
  const auto scale1 = std::bit_cast<float>(static_cast<std::uint32_t>(half + 127) << 23);
  const auto scale2 = std::bit_cast<float>(static_cast<std::uint32_t>(exponent - half + 127) << 23);
  const float result = power * scale1 * scale2;
  return x < kLowest ? 0.0f : result;
}

inline double vector_exp(double x) {
  return std::exp(x);
}

/// erf(x); NaN stays NaN.
inline float vector_erf(float x) {
  const float magnitude = std::fabs(x);
  const float z = x * x;
  float p = -6.0903601e-4f;
  p = p * z + 5.0119627e-3f;
  p = p * z - 2.6778908e-2f;
  p = p * z + 1.1282141e-1f;
  p = p * z - 3.7612525e-1f;
  p = p * z + 1.2837917e-1f;
  const float small = x * p + x;

  const float t = magnitude > 4.0f ? 4.0f : magnitude;
  float g = -1.9821966e-4f;
  g = g * t + 3.0654902e-3f;
  g = g * t - 2.2315213e-2f;
  g = g * t + 1.0411368e-1f;
  g = g * t + 6.3697606e-1f;
  g = g * t + 1.1277972f;
  g = g * t + 1.6644777e-4f;
  const float large = std::copysign(1.0f - vector_exp(-g), x);
  return magnitude < 0.9f ? small : large;
}

inline double vector_erf(double x) {
  return std::erf(x);
}

}  // namespace toller
