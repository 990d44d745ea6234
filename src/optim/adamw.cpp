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
std::int64_t total_size(std::span<const DecaySlice> slices) {
  std::int64_t end = 0;
  for (const DecaySlice& slice : slices) {
    if (slice.offset != end || slice.size < 0) {
      fail("adamw: the slice at {} of size {} does not follow the one that ends at {}", slice.offset,
           slice.size, end);
    }
    end += slice.size;
  }
  return end;
}

}  // namespace

template <class T>
AdamW<T>::AdamW(Ops<T>& ops, std::vector<DecaySlice> slices, const AdamWOptions& options)
    : ops_(ops), slices_(std::move(slices)), options_(options) {
  check_options(options_);
  const std::int64_t size = total_size(slices_);
  m_ = DeviceBuffer<Real>(ops_, size);
  v_ = DeviceBuffer<Real>(ops_, size);
  squared_norm_ = DeviceBuffer<double>(ops_, 1);
  std::vector<std::int64_t> bounds{0};
  for (const DecaySlice& slice : slices_) bounds.push_back(slice.offset + slice.size);
  bounds_ = DeviceBuffer<std::int64_t>(ops_, static_cast<std::int64_t>(bounds.size()));
  bounds_.write(bounds);
  not_finite_ = DeviceBuffer<std::int64_t>(ops_, static_cast<std::int64_t>(2 * slices_.size()));
  ops_.zero(not_finite_.data(), not_finite_.size());
  ops_.zero(m_.data(), size);
  ops_.zero(v_.data(), size);
}

template <class T>
void AdamW<T>::update(std::int64_t step, double learning_rate, const Real* gradient, Real* parameters,
                      T* copy) {
  measure(gradient);
  apply(step, learning_rate, gradient, parameters, copy);
}

template <class T>
void AdamW<T>::measure(const Real* gradient) {
  ops_.squared_norm(gradient, m_.size(), squared_norm_.data());
}

template <class T>
void AdamW<T>::apply(std::int64_t step, double learning_rate, const Real* gradient, Real* parameters,
                     T* copy) {
  if (step < 1) fail("adamw: step {}; steps count from 1", step);
  if (!(learning_rate >= 0 && std::isfinite(learning_rate))) {
    fail_usage("learning_rate is {}; it must be finite and not negative", learning_rate);
  }
  const AdamWStep amounts{.learning_rate = learning_rate,
                          .beta1 = options_.beta1,
                          .beta2 = options_.beta2,
                          .epsilon = options_.epsilon,
                          .weight_decay = options_.weight_decay,
                          .step = step};
  ops_.adamw(slices_, gradient, amounts, {squared_norm_.data(), options_.clip_norm}, parameters, m_.data(),
             v_.data(), copy);
  const auto slices = static_cast<std::int64_t>(slices_.size());
  ops_.count_not_finite(squared_norm_.data(), gradient, bounds_.data(), slices,
                        not_finite_.data() + step % 2 * slices);
}

template <class T>
std::vector<std::size_t> AdamW<T>::slices_not_finite(std::int64_t step) const {
  std::vector<std::int64_t> counts(2 * slices_.size());
  not_finite_.read(counts);
  std::vector<std::size_t> found;
  for (std::size_t slice = 0; slice < slices_.size(); ++slice) {
    if (counts[static_cast<std::size_t>(step % 2) * slices_.size() + slice] > 0) found.push_back(slice);
  }
  return found;
}

template class AdamW<BFloat16>;
template class AdamW<float>;
template class AdamW<double>;

}  // namespace toller
