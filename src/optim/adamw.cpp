#include "optim/adamw.h"

#include <cmath>
#include <utility>

#include "error.h"

namespace toller {
namespace {

void check_options(const AdamWOptions& options) {
  const auto check_moment = [](const char* name, double value) {
    if (!(value >= 0 && value < 1)) fail_usage("{} is {}; it must be at least 0 and below 1", name, value);
  };
  const auto check_amount = [](const char* name, double value) {
    if (!(value >= 0 && std::isfinite(value))) {
      fail_usage("{} is {}; it must be finite and not negative", name, value);
    }
  };
  check_moment("beta1", options.beta1);
  check_moment("beta2", options.beta2);
  if (!(options.epsilon > 0 && std::isfinite(options.epsilon))) {
    fail_usage("epsilon is {}; it must be finite and above 0", options.epsilon);
  }
  check_amount("weight_decay", options.weight_decay);
  check_amount("clip_norm", options.clip_norm);
}

/// Elements of the flat buffer; every one of them lies in one slice.
std::size_t total_size(std::span<const DecaySlice> slices) {
  std::int64_t end = 0;
  for (const DecaySlice& slice : slices) {
    if (slice.offset != end || slice.size < 0) {
      fail("adamw: the slice at {} of size {} does not follow the one that ends at {}", slice.offset,
           slice.size, end);
    }
    end += slice.size;
  }
  return static_cast<std::size_t>(end);
}

}  // namespace

template <class T>
AdamW<T>::AdamW(Ops<T>& ops, std::vector<DecaySlice> slices, const AdamWOptions& options)
    : ops_(ops), slices_(std::move(slices)), options_(options) {
  check_options(options_);
  m_.assign(total_size(slices_), T{0});
  v_.assign(m_.size(), T{0});
}

template <class T>
double AdamW<T>::update(std::int64_t step, double learning_rate, const T* gradient, T* parameters) {
  if (step < 1) fail("adamw: step {}; steps count from 1", step);
  if (!(learning_rate >= 0 && std::isfinite(learning_rate))) {
    fail_usage("learning_rate is {}; it must be finite and not negative", learning_rate);
  }
  const double norm = std::sqrt(ops_.squared_norm(gradient, static_cast<std::int64_t>(m_.size())));
  if (!std::isfinite(norm)) fail("the gradient of step {} is not finite (its norm is {})", step, norm);
  const bool clip = options_.clip_norm > 0 && norm > options_.clip_norm;

  AdamWStep amounts;
  amounts.learning_rate = learning_rate;
  amounts.beta1 = options_.beta1;
  amounts.beta2 = options_.beta2;
  amounts.epsilon = options_.epsilon;
  amounts.gradient_scale = clip ? options_.clip_norm / norm : 1;
  amounts.step = step;
  for (const DecaySlice& slice : slices_) {
    amounts.weight_decay = slice.decay ? options_.weight_decay : 0;
    ops_.adamw(slice.size, gradient + slice.offset, amounts, parameters + slice.offset,
               m_.data() + slice.offset, v_.data() + slice.offset);
  }
  return norm;
}

template class AdamW<float>;
template class AdamW<double>;

}  // namespace toller
