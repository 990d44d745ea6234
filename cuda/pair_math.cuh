// The functions that pair costs (device/pair_cost.h) take in kernels, and the shape of a block that goes
// through columns.
#pragma once

#include <cmath>

#include "host_device.h"

namespace toller {

struct DevicePairMath {
  TOLLER_HOST_DEVICE static float exp(float x) { return expf(x); }
  TOLLER_HOST_DEVICE static float log1p(float x) { return log1pf(x); }
};

/// A block has kColumnLanes neighbouring columns, whose rows its kRowLanes lanes share out.
inline constexpr int kColumnLanes = 32, kRowLanes = 8;

}  // namespace toller
