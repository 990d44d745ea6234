// The distance of two Gaussians from their moments (ScoreOps::gaussian_distance), one column at a time,
// written once for all devices.
#pragma once

#include "device/score_ops.h"
#include "host_device.h"

namespace toller {

struct GaussianDistance {
  GaussianMoments moments;
  double share, spread, label_base;
  double between = 0, of_mean = 0, of_label_mean = 0;  ///< sums over columns: add them up before value()

  TOLLER_HOST_DEVICE explicit GaussianDistance(const GaussianMoments& given)
      : moments(given),
        share(1 / static_cast<double>(given.samples)),
        spread(given.samples > 1 ? 1 / (static_cast<double>(given.samples) - 1) : 0),
        label_base(given.label_totals[0] * share - 1 / static_cast<double>(given.columns)) {}

  /// Adds column m to the sums; returns the slope of its mean.
  TOLLER_HOST_DEVICE double add(std::int64_t m) {
    const double mean = moments.column_sum[m] * share, label_mean = label_base + moments.weight[m] * share;
    const double difference = mean - label_mean;
    between += difference * difference;
    of_mean += mean * mean;
    of_label_mean += label_mean * label_mean;
    return 2 * (share * difference - spread * mean);
  }

  TOLLER_HOST_DEVICE double value() const {
    const auto samples = static_cast<double>(moments.samples);
    return between + spread * ((*moments.square_sum - samples * of_mean) +
                               (moments.label_totals[1] - samples * of_label_mean) - 2 * *moments.overlap);
  }
};

}  // namespace toller
