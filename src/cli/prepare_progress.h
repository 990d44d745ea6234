// What `toller prepare` tells while it reads, tokenizes and writes, and how it is interrupted.
#pragma once

#include <chrono>
#include <string>

#include "cli/work_bar.h"
#include "data/stored_file.h"
#include "data/token_store.h"
#include "train/stop_signal.h"

namespace toller {

/// Thrown out of the work when a signal asks to end it, so that nothing half-written is left.
struct Interrupted {
  int signal = 0;
};

class PrepareProgress {
 public:
  PrepareProgress();

  /// To be told of the reading.
  ReadWatch reading();
  /// To be told of the tokenizing and writing.
  StoreWatch storing();
  void say(const std::string& message) { bar_.say(message); }
  /// A piece of work is done, and another begins.
  void restart();

 private:
  void show_reading(const ReadProgress& progress);
  void show_tokenizing(const TokenizeProgress& progress);
  void show_writing(std::int64_t bytes, std::int64_t total);
  /// Throws Interrupted if there was a signal. Whether to show something now.
  bool is_due();
  double seconds() const;

  StopSignal stop_;
  WorkBar bar_;
  std::chrono::steady_clock::time_point start_;
  std::filesystem::path file_;  ///< that is being read
};

}  // namespace toller
