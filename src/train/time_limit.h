// When a run must stop by itself so that it has written its checkpoint before a batch system ends it.
#pragma once

#include <algorithm>
#include <string>

namespace toller {

/// Seconds of "5400", "5400.5" or "1:30:00"; UsageError that names the flag for anything else.
double parse_duration(const char* flag, const std::string& text);

/// All times are in seconds.
class TimeLimit {
 public:
  /// `limit`: 0 for none. `checkpoint`: what writing one may take, until one has been measured.
  TimeLimit(double limit, double checkpoint) : limit_(limit), checkpoint_(checkpoint) {}

  void step_took(double seconds) { step_ = std::max(step_, seconds); }
  void evaluation_took(double seconds) { evaluation_ = std::max(evaluation_, seconds); }
  void checkpoint_took(double seconds) {
    checkpoint_ = measured_ ? std::max(checkpoint_, seconds) : seconds;
    measured_ = true;
  }

  /// Whether no other step may begin after `elapsed` with `in_flight` steps queued: there must be time for
  /// these and it, an evaluation, a checkpoint after it and the last one, each as slow as the slowest so far,
  /// and half of that again for the next to be slower.
  bool is_reached(double elapsed, double in_flight) const {
    return limit_ > 0 && elapsed + 1.5 * ((in_flight + 1) * step_ + evaluation_ + 2 * checkpoint_) >= limit_;
  }

 private:
  double limit_;
  double step_ = 0, evaluation_ = 0, checkpoint_;
  bool measured_ = false;
};

}  // namespace toller
