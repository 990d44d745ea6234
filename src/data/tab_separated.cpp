#include "data/tab_separated.h"

#include <charconv>
#include <cmath>

namespace toller {

std::vector<std::string_view> tab_fields(std::string_view line, char separator) {
  std::vector<std::string_view> fields;
  for (;;) {
    const std::size_t tab = line.find(separator);
    fields.push_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return fields;
    line.remove_prefix(tab + 1);
  }
}

float parse_finite(std::string_view field, const char* what, const LineReader& reader) {
  float number = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), number);
  if (error != std::errc() || end != field.data() + field.size() || !std::isfinite(number)) {
    reader.fail_here("{} \"{}\" is not a finite number", what, field);
  }
  return number;
}

}  // namespace toller
