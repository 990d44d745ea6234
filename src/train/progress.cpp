#include "train/progress.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>

#include "comm/mpi_session.h"
#include "error.h"

namespace toller {
namespace {

std::string duration(double seconds) {
  const auto total = static_cast<std::int64_t>(std::max(0.0, seconds));
  if (total >= 3600) return fmt::format("{}:{:02}:{:02}", total / 3600, total / 60 % 60, total % 60);
  return fmt::format("{}:{:02}", total / 60, total % 60);
}

std::string thousands(double number) {
  return number >= 1e6 ? fmt::format("{:.2f}M", number / 1e6) : fmt::format("{:.1f}k", number / 1e3);
}

std::string describe(const ProgressState& state) {
  return fmt::format("step {}/{}  epoch {:.2f}  loss {:.4f}  lr {:.2e}  {} tokens/s  ETA {}", state.step,
                     state.total_steps, state.epoch, state.loss, state.learning_rate,
                     thousands(state.tokens_per_second), duration(state.seconds_left));
}

std::string bar(double share) {
  constexpr int kWidth = 24;
  const int filled = std::clamp(static_cast<int>(share * kWidth), 0, kWidth);
  return "[" + std::string(static_cast<std::size_t>(filled), '#') +
         std::string(static_cast<std::size_t>(kWidth - filled), '.') + "]";
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
  fmt::print("\r\033[K{} {}", bar(share), describe(state));
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
