// AdamW over the flat parameter buffer, and clipping by the global norm.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "device/ops.h"

namespace toller {

/// A run of elements of the flat buffer that takes or does not take weight decay.
struct DecaySlice {
  std::int64_t offset = 0;
  std::int64_t size = 0;
  bool decay = false;
};

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
  /// `slices` lie one behind the other from element 0. Throws UsageError that names an option out of its
  /// range.
  AdamW(Ops<T>& ops, std::vector<DecaySlice> slices, const AdamWOptions& options);

  /// One update. `gradient` is that of the whole global batch, the same on every rank. `step` counts from 1.
  /// Returns the global gradient norm before clipping; throws Error when it is not finite (nothing is updated
  /// then).
  double update(std::int64_t step, double learning_rate, const T* gradient, T* parameters);

  std::span<T> m() { return m_; }
  std::span<T> v() { return v_; }

 private:
  Ops<T>& ops_;
  std::vector<DecaySlice> slices_;
  AdamWOptions options_;
  std::vector<T> m_, v_;
};

}  // namespace toller
