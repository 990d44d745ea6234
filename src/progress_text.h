// How far work is, in words and as a bar.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string>

namespace toller {

/// 1:02:03, or 2:03 below an hour.
inline std::string duration_text(double seconds) {
  const auto total = static_cast<std::int64_t>(std::max(0.0, seconds));
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

/// 12.3k, or 4.56M.
inline std::string short_number(double number) {
  return number >= 1e6 ? fmt::format("{:.2f}M", number / 1e6) : fmt::format("{:.1f}k", number / 1e3);
}

/// [######..................]
inline std::string progress_bar(double share) {
  constexpr int kWidth = 24;
  const int filled = std::clamp(static_cast<int>(share * kWidth), 0, kWidth);
  return "[" + std::string(static_cast<std::size_t>(filled), '#') +
         std::string(static_cast<std::size_t>(kWidth - filled), '.') + "]";
}

}  // namespace toller
