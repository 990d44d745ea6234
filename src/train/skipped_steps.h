// Steps whose gradient is not finite. They change nothing; a run of them ends the training.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace toller {

class SkippedSteps {
 public:
  /// Of these, so many may follow each other.
  explicit SkippedSteps(std::int64_t most_in_a_row) : most_in_a_row_(most_in_a_row) {}

  /// Goes on with the counts in a checkpoint's state; those that are absent or no counts are 0.
  void resume(const nlohmann::json& state);
  void write_to(nlohmann::json& state) const;

  void step_was_made() { in_a_row_ = 0; }
  void step_was_skipped() {
    ++total_;
    ++in_a_row_;
  }
  bool too_many() const { return in_a_row_ > most_in_a_row_; }
  std::int64_t in_a_row() const { return in_a_row_; }
  std::int64_t total() const { return total_; }

 private:
  std::int64_t most_in_a_row_;
  std::int64_t in_a_row_ = 0, total_ = 0;
};

/// "a", "a, b and c", "a, b, c and 7 others".
std::string name_some(const std::vector<std::string>& names);

}  // namespace toller
