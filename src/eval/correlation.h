// How well two lists of numbers agree.
#pragma once

#include <optional>
#include <span>
#include <vector>

namespace toller {

/// Correlation after Pearson of two lists of equal length; none where one of them is constant, holds a NaN,
/// or has fewer than two numbers.
std::optional<double> pearson_correlation(std::span<const double> a, std::span<const double> b);

/// Ranks from 1 on, ascending; equal numbers share the mean of their ranks.
std::vector<double> average_ranks(std::span<const double> values);

/// Correlation after Spearman: Pearson's of the ranks.
std::optional<double> spearman_correlation(std::span<const double> a, std::span<const double> b);

}  // namespace toller
