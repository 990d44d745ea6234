// CUDA's small vector types, with its sizes and alignments.
#pragma once

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};

#define HOST_CUDA_VECTOR_TYPES(scalar, name, align2, align4)                 \
  struct alignas(align2) name##2 {                                           \
    scalar x, y;                                                             \
  };                                                                         \
  struct alignas(align4) name##4 {                                           \
    scalar x, y, z, w;                                                       \
  };                                                                         \
  constexpr name##2 make_##name##2(scalar x, scalar y) {                     \
    return {x, y};                                                           \
  }                                                                          \
  constexpr name##4 make_##name##4(scalar x, scalar y, scalar z, scalar w) { \
    return {x, y, z, w};                                                     \
  }
HOST_CUDA_VECTOR_TYPES(float, float, 8, 16)
HOST_CUDA_VECTOR_TYPES(int, int, 8, 16)
HOST_CUDA_VECTOR_TYPES(unsigned, uint, 8, 16)
#undef HOST_CUDA_VECTOR_TYPES

struct alignas(16) double2 {
  double x, y;
};
constexpr double2 make_double2(double x, double y) {
  return {x, y};
}
