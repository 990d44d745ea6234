// The functions that pair costs (device/pair_cost.h) take on the CPU, in vector loops.
#pragma once

#include <cmath>

#include "device/cpu/vector_math.h"

namespace toller {

struct CpuPairMath {
  template <class T>
  static T exp(T x) {
    return vector_exp(x);
  }

  /// Relative error 10⁻⁷: 2 artanh(x / (2 + x)).
  static float log1p(float x) {
    const float z = x / (2.0f + x), square = z * z;
    float sum = 1.0f / 15;
    sum = sum * square + 1.0f / 13;
    sum = sum * square + 1.0f / 11;
    sum = sum * square + 1.0f / 9;
    sum = sum * square + 1.0f / 7;
    sum = sum * square + 1.0f / 5;
    sum = sum * square + 1.0f / 3;
    return 2 * z + 2 * z * square * sum;
  }
  static double log1p(double x) { return std::log1p(x); }
};

}  // namespace toller
