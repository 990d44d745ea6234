// What a pair of a positive score a and a negative score b costs, written once for all devices: f and f' of
// z = (b − a) · inverse_temperature. Pairs that do not take part (z = −∞) cost nothing; NaN stays NaN.
// `Math` has exp(x) and log1p(x), the latter for x in [0, 1].
#pragma once

#include <cmath>

#include "host_device.h"

namespace toller {

enum class PairCostKind {
  kLogistic,          ///< softplus(z)
  kReversedLogistic,  ///< softplus(−z)
  kHinge,             ///< max(0, margin + z)
};

struct PairCost {
  PairCostKind kind = PairCostKind::kLogistic;
  double margin = 0;  ///< hinge
};

template <class T>
struct CostAndSlope {
  T value, slope;
};

template <class Math>
struct LogisticCost {
  template <class T>
  TOLLER_HOST_DEVICE CostAndSlope<T> operator()(T z) const {
    const T e = Math::exp(-std::fabs(z));
    return {(z > T{0} ? z : T{0}) + Math::log1p(e), (z > T{0} ? T{1} : e) / (T{1} + e)};
  }
};

template <class Math>
struct ReversedLogisticCost {
  template <class T>
  TOLLER_HOST_DEVICE CostAndSlope<T> operator()(T z) const {
    const CostAndSlope<T> forward = LogisticCost<Math>()(-z);
    const bool none = z == -static_cast<T>(INFINITY);
    return {none ? T{0} : forward.value, none ? T{0} : -forward.slope};
  }
};

struct HingeCost {
  double margin;

  template <class T>
  TOLLER_HOST_DEVICE CostAndSlope<T> operator()(T z) const {
    const T excess = z + static_cast<T>(margin);
    return {excess <= T{0} ? T{0} : excess, excess <= T{0} ? T{0} : T{1}};
  }
};

/// body(f) with the function that `cost` names.
template <class Math, class Body>
void with_pair_cost(const PairCost& cost, Body body) {
  switch (cost.kind) {
    case PairCostKind::kLogistic:
      return body(LogisticCost<Math>{});
    case PairCostKind::kReversedLogistic:
      return body(ReversedLogisticCost<Math>{});
    case PairCostKind::kHinge:
      return body(HingeCost{cost.margin});
  }
}

}  // namespace toller
