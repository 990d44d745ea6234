#include "data/example_table.h"

#include <algorithm>
#include <initializer_list>

#include "data/tab_separated.h"
#include "error.h"

namespace toller {
namespace {

constexpr std::size_t kNone = static_cast<std::size_t>(-1);

enum class Role { kQuery, kPositive, kNegative, kScore, kFirst, kSecond, kUnknown };

Role role_of(std::string_view name) {
  if (name == "query" || name == "anchor") return Role::kQuery;
  if (name == "positive" || name == "pos") return Role::kPositive;
  if (name == "negative" || name == "neg" || is_numbered_negative(name)) return Role::kNegative;
  if (name == "score") return Role::kScore;
  if (name == "sentence1") return Role::kFirst;
  if (name == "sentence2") return Role::kSecond;
  return Role::kUnknown;
}

}  // namespace

TableColumns::TableColumns(const std::vector<std::string_view>& names, const std::string& origin)
    : count_(names.size()) {
  std::vector<std::vector<std::size_t>> found(static_cast<std::size_t>(Role::kUnknown));
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Role role = role_of(names[i]);
    if (role == Role::kUnknown) {
      fail(
          "{}: column \"{}\" is none of query (or anchor), positive, negative, negative_1 …, or score, "
          "sentence1, "
          "sentence2",
          origin, names[i]);
    }
    auto& places = found[static_cast<std::size_t>(role)];
    if (!places.empty() && role != Role::kNegative)
      fail("{}: column \"{}\" is there twice", origin, names[i]);
    places.push_back(i);
  }
  const auto place = [&](Role role) {
    const auto& places = found[static_cast<std::size_t>(role)];
    return places.empty() ? kNone : places.front();
  };
  score_ = place(Role::kScore);
  has_scores_ = score_ != kNone || place(Role::kFirst) != kNone || place(Role::kSecond) != kNone;
  first_ = place(has_scores_ ? Role::kFirst : Role::kQuery);
  second_ = place(has_scores_ ? Role::kSecond : Role::kPositive);
  negatives_ = found[static_cast<std::size_t>(Role::kNegative)];
  const bool is_complete =
      first_ != kNone && second_ != kNone && (!has_scores_ || (score_ != kNone && count_ == 3));
  if (!is_complete) {
    fail(
        "{}: the columns must be query (or anchor), positive and perhaps negatives, or score, sentence1, "
        "sentence2",
        origin);
  }
}

bool TableColumns::are_names(const std::vector<std::string_view>& fields) {
  return std::ranges::any_of(fields, [](std::string_view field) { return role_of(field) != Role::kUnknown; });
}

PairColumns TableColumns::pair_columns() const {
  return {score_, first_, second_, count_, count_};
}

Example TableColumns::example(std::string_view line, const LineReader& reader) const {
  const std::vector<std::string_view> fields = tab_fields(line);
  if (fields.size() != count_) {
    reader.fail_here("expected {} fields separated by tabs, found {}", count_, fields.size());
  }
  Example example{{"", std::string(fields[first_])}, {{"", std::string(fields[second_])}}, {}, false};
  for (const std::size_t column : negatives_) {
    if (!fields[column].empty()) example.negatives.push_back({"", std::string(fields[column])});
  }
  return example;
}

}  // namespace toller
