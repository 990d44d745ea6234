// The polar factor of a square matrix whose rows are shared out to the ranks, by matrix products alone.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/tensor_communicator.h"
#include "device/arena.h"
#include "device/score_ops.h"

namespace toller {

/// One step U ← linear · U + cubic · U Uᵀ U.
struct PolarStep {
  double linear, cubic;
};

/// Steps that take singular values from [tolerance, 1] to 1, to 4 · 10⁻¹⁶ in exact arithmetic; smaller ones
/// rise by the factor 2.5 or less a step, towards 0 for 0. 0 < tolerance < 1. 10⁻⁶: 20 steps, 10⁻⁸: 25.
std::vector<PolarStep> polar_steps(double tolerance);

/// U Vᵀ of a matrix A = U S Vᵀ [n, n], of which this rank has `rows` rows; the derivative of Σ S. Singular
/// values below tolerance · ‖A‖ (Frobenius) count with a weight between 0 and 1, those that are 0 not at all.
/// A step takes 3 rows n² operations and one sum over ranks, n² doubles. A rounding error of the steps stays
/// below about 10⁻¹⁵ / s, s the singular value it meets over ‖A‖. Collective.
template <class T>
class PolarFactor {
 public:
  /// On the device.
  struct Memory {
    std::int64_t rows = 0, n = 0;
    double* next = nullptr;          ///< [rows, n]
    double* gram = nullptr;          ///< [n, n]
    double* squared_norm = nullptr;  ///< [1]
  };

  PolarFactor(ScoreOps<T>& score_ops, double tolerance)
      : score_ops_(score_ops), steps_(polar_steps(tolerance)) {}

  Memory take_memory(std::int64_t rows, std::int64_t n, Arena& arena) const;
  /// The polar factor [rows, n] of a [rows, n], which is overwritten. It lies in a or in the memory.
  double* compute(double* a, const Memory& memory, TensorCommunicator& communicator) const;

 private:
  ScoreOps<T>& score_ops_;
  std::vector<PolarStep> steps_;
};

}  // namespace toller
