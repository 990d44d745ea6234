// AdamW over the flat parameter buffer, and clipping by the global norm.
#pragma once

#include <cstdint>
#include <vector>

#include "device/ops.h"

namespace toller {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  double clip_norm = 1.0;  ///< 0: no clipping
};

template <class T>
class AdamW {
 public:
  using Real = RealOf<T>;

  /// `slices` lie one behind the other from element 0. Throws UsageError that names an option out of its
  /// range.
  AdamW(Ops<T>& ops, std::vector<DecaySlice> slices, const AdamWOptions& options);

  /// Queues one update: measure(), then apply().
  void update(std::int64_t step, double learning_rate, const Real* gradient, Real* parameters, T* copy);

  /// Queues the square of the gradient's norm, before clipping. Whoever has only a part of the gradient here
  /// adds the other parts' squares to squared_norm() before apply().
  void measure(const Real* gradient);
  /// Queues the update. `gradient` is that of the whole global batch. `step` counts from 1. `copy` gets the
  /// new parameters as T; null: none. Where the norm of the gradient is not finite, parameters and moments
  /// stay as they are, bit by bit; the step counts all the same in the bias correction.
  void apply(std::int64_t step, double learning_rate, const Real* gradient, Real* parameters, T* copy);

  /// [1], memory of the device: of the last measure().
  double* squared_norm() { return squared_norm_.data(); }

  /// Of update `step`, which is one of the last two and whose norm is not finite: the numbers of the slices
  /// whose gradient is not. Waits for all that is queued.
  std::vector<std::size_t> slices_not_finite(std::int64_t step) const;

  DeviceBuffer<Real>& m() { return m_; }
  DeviceBuffer<Real>& v() { return v_; }

 private:
  Ops<T>& ops_;
  std::vector<DecaySlice> slices_;
  AdamWOptions options_;
  DeviceBuffer<Real> m_, v_;
  DeviceBuffer<double> squared_norm_;
  DeviceBuffer<std::int64_t> bounds_;      ///< of the slices
  DeviceBuffer<std::int64_t> not_finite_;  ///< [2, slices]: of even and of odd steps
};

}  // namespace toller
