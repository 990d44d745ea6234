// How far a command's work is: on a terminal a bar that redraws itself, elsewhere a line now and then.
#pragma once

#include <chrono>
#include <string>

namespace toller {

class WorkBar {
 public:
  /// `terminal`: what standard output is; `interval`: between lines where it is none.
  WorkBar(bool terminal, std::chrono::duration<double> interval);
  ~WorkBar();
  WorkBar(const WorkBar&) = delete;
  WorkBar& operator=(const WorkBar&) = delete;

  /// Whether it is time to show() again: five times a second on a terminal, else once an interval, from the
  /// beginning of the work.
  bool is_due() const;
  /// `share`: of the work that is done, from 0 to 1.
  void show(double share, const std::string& text);
  /// A message of its own, above the bar.
  void say(const std::string& message);
  /// The bar goes, and another piece of work begins.
  void restart();

 private:
  using Clock = std::chrono::steady_clock;

  void erase();

  bool terminal_;
  bool is_shown_ = false;
  std::chrono::duration<double> interval_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace toller
