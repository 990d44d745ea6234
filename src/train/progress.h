// What rank 0 says during a run: a bar that redraws itself on a terminal, a line an interval elsewhere, and
// the same lines in RUN/train.log.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

namespace spdlog {
class logger;
}

namespace toller {

struct ProgressState {
  std::int64_t step = 0;
  std::int64_t total_steps = 0;
  double epoch = 0;
  double loss = 0;
  double learning_rate = 0;
  double tokens_per_second = 0;
  double seconds_left = 0;
};

class Progress {
 public:
  /// `speaks` false (all ranks but the first): every call does nothing.
  Progress(bool speaks, const std::filesystem::path& log_file);
  ~Progress();

  /// After every step; a terminal's bar is redrawn at most five times a second.
  void step(const ProgressState& state);
  /// At the end of an interval: the line for the log (and for the output where it is no terminal).
  void interval(const ProgressState& state);
  /// A message of its own, above the bar.
  void say(const std::string& message);

 private:
  void erase_bar();

  bool speaks_;
  bool terminal_ = false;
  bool bar_shown_ = false;
  std::chrono::steady_clock::time_point drawn_{};
  std::shared_ptr<spdlog::logger> log_;
};

}  // namespace toller
