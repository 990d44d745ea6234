#include "comm/operation.h"

#include "error.h"

namespace toller {

std::string to_text(const Operation& operation) {
  if (operation.elements == Operation::kNoElements) return operation.name;
  std::string digits = fmt::format("{}", operation.elements);
  for (std::size_t place = digits.size(); place > 3; place -= 3) digits.insert(place - 3, 1, ',');
  return fmt::format("{} of {} elements", operation.name, digits);
}

std::string late_text(const Operation& operation, std::chrono::milliseconds time_out,
                      const std::string& advice) {
  return fmt::format("{} has not finished after {:g} s: {}", to_text(operation),
                     static_cast<double>(time_out.count()) / 1000, advice);
}

}  // namespace toller
