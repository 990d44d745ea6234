#include "train/progress.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>

#include "comm/mpi_session.h"
#include "error.h"
#include "progress_text.h"

namespace toller {
namespace {

std::string describe(const ProgressState& state) {
  return fmt::format("step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.2e}  {} tokens/s  ETA {}", state.step,
                     state.total_steps, state.epoch, state.loss, state.learning_rate,
                     short_number(state.tokens_per_second), duration_text(state.seconds_left));
}

}  // namespace

Progress::Progress(bool speaks, const std::filesystem::path& log_file) : speaks_(speaks) {
  if (!speaks_) return;
  terminal_ = standard_output_is_terminal();
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_st>(log_file.string());
    log_ = std::make_shared<spdlog::logger>("train", std::move(sink));
    log_->set_pattern("%Y-%m-%d %H:%M:%S %v");
    log_->flush_on(spdlog::level::info);
  } catch (const spdlog::spdlog_ex& problem) {
    fail("{}: {}", log_file.string(), problem.what());
  }
}

Progress::~Progress() {
  erase_bar();
}

void Progress::step(const ProgressState& state) {
  if (!speaks_ || !terminal_) return;
  const auto now = std::chrono::steady_clock::now();
  if (bar_shown_ && state.step < state.total_steps && now - drawn_ < std::chrono::milliseconds(200)) return;
  drawn_ = now;
  const double share =
      static_cast<double>(state.step) / static_cast<double>(std::max<std::int64_t>(1, state.total_steps));
  fmt::print("\r\033[K{} {}", progress_bar(share), describe(state));
  std::fflush(stdout);
  bar_shown_ = true;
}

void Progress::interval(const ProgressState& state) {
  if (!speaks_) return;
  log_->info(describe(state));
  if (terminal_) return;
  fmt::print("{}\n", describe(state));
  std::fflush(stdout);
}

void Progress::say(const std::string& message) {
  if (!speaks_) return;
  erase_bar();
  log_->info(message);
  fmt::print("{}\n", message);
  std::fflush(stdout);
}

void Progress::erase_bar() {
  if (!bar_shown_) return;
  fmt::print("\r\033[K");
  std::fflush(stdout);
  bar_shown_ = false;
}

}  // namespace toller
