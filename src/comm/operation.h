// How messages speak of a collective, and of one that does not end.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace toller {

/// A collective, as messages name it.
struct Operation {
  static constexpr std::int64_t kNoElements = -1;  ///< the name says it all

  const char* name = "";
  std::int64_t elements = 0;
};
/// "all_gather of 1,234 elements"
std::string to_text(const Operation& operation);
/// "all_gather of 1,234 elements has not finished after 600 s: advice"
std::string late_text(const Operation& operation, std::chrono::milliseconds time_out,
                      const std::string& advice);

}  // namespace toller
