// InfoNCE of a LossProblem.
#pragma once

#include "loss/loss_problem.h"

namespace toller {

template <class T>
LossResult infonce_loss(const LossProblem& problem, const InfoNceOptions& options = {}) {
  return loss_of<T>(problem, with_options(make_infonce<T>, options));
}

template <class T>
LossResult distributed_infonce_loss(const LossProblem& problem, const std::vector<std::int64_t>& counts,
                                    const InfoNceOptions& options) {
  return distributed_loss_of<T>(problem, with_options(make_infonce<T>, options), counts);
}

}  // namespace toller
