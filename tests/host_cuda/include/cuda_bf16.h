// CUDA's bfloat16 for the host compiler: the upper half of a float, rounded to nearest even; the same bits as
// on the device.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

struct __nv_bfloat16 {
  std::uint16_t bits;

  __nv_bfloat16() = default;
  explicit __nv_bfloat16(float x) {
    const auto word = std::bit_cast<std::uint32_t>(x);
    bits = std::isnan(x) ? std::uint16_t{0x7FFF}
                         : static_cast<std::uint16_t>((word + 0x7FFFu + (word >> 16 & 1)) >> 16);
  }
  /// The toolkit converts and calculates implicitly too; kernels say what they mean (cuda/bfloat16.cuh).
  explicit operator float() const { return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16); }
};
static_assert(sizeof(__nv_bfloat16) == 2);

struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};

inline __nv_bfloat16 __float2bfloat16(float x) {
  return __nv_bfloat16(x);
}
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
  return __nv_bfloat16(x);
}
inline float __bfloat162float(__nv_bfloat16 x) {
  return static_cast<float>(x);
}
inline __nv_bfloat162 __floats2bfloat162_rn(float x, float y) {
  return {__nv_bfloat16(x), __nv_bfloat16(y)};
}
inline float __low2float(__nv_bfloat162 x) {
  return static_cast<float>(x.x);
}
inline float __high2float(__nv_bfloat162 x) {
  return static_cast<float>(x.y);
}
inline std::uint16_t __bfloat16_as_ushort(__nv_bfloat16 x) {
  return x.bits;
}
inline __nv_bfloat16 __ushort_as_bfloat16(std::uint16_t bits) {
  return std::bit_cast<__nv_bfloat16>(bits);
}
