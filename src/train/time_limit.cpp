#include "train/time_limit.h"

#include <charconv>
#include <cmath>
#include <sstream>
#include <vector>

#include "error.h"

namespace toller {
namespace {

/// A number without sign; NaN for any other text.
double number_in(const std::string& text) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  const bool whole = error == std::errc() && end == text.data() + text.size() && !std::signbit(value);
  return whole ? value : std::nan("");
}

}  // namespace

double parse_duration(const char* flag, const std::string& text) {
  std::vector<double> parts;
  std::istringstream stream(text + ':');
  for (std::string part; std::getline(stream, part, ':');) parts.push_back(number_in(part));
  double seconds = parts.size() == 1 || parts.size() == 3 ? 0 : std::nan("");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0 && !(parts[i] < 60)) seconds = std::nan("");
    seconds = 60 * seconds + parts[i];
  }
  if (!std::isfinite(seconds)) {
    fail_usage("--{} '{}' is no time; write seconds or hours:minutes:seconds, as in 5400 or 1:30:00", flag,
               text);
  }
  return seconds;
}

}  // namespace toller
