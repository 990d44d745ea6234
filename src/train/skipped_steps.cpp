#include "train/skipped_steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>

namespace toller {
namespace {

constexpr const char* kTotal = "skipped_steps";
constexpr const char* kInARow = "skipped_in_a_row";

std::int64_t count_in(const nlohmann::json& state, const char* name) {
  if (!state.is_object() || !state.contains(name)) return 0;
  const nlohmann::json& value = state[name];
  return value.is_number_integer() ? std::max<std::int64_t>(0, value.get<std::int64_t>()) : 0;
}

}  // namespace

void SkippedSteps::resume(const nlohmann::json& state) {
  total_ = count_in(state, kTotal);
  in_a_row_ = count_in(state, kInARow);
}

void SkippedSteps::write_to(nlohmann::json& state) const {
  if (total_ == 0) return;
  state[kTotal] = total_;
  state[kInARow] = in_a_row_;
}

std::string name_some(const std::vector<std::string>& names) {
  constexpr std::size_t kNamed = 3;
  if (names.empty()) return "none";
  if (names.size() == 1) return names[0];
  if (names.size() > kNamed) {
    return fmt::format("{} and {} others", fmt::join(std::span(names).first(kNamed), ", "),
                       names.size() - kNamed);
  }
  return fmt::format("{} and {}", fmt::join(std::span(names).first(names.size() - 1), ", "), names.back());
}

}  // namespace toller
