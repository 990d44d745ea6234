#include "cli/prepare_progress.h"

#include <algorithm>

#include "comm/mpi_session.h"
#include "progress_text.h"
#include "seconds_since.h"

namespace toller {
namespace {

constexpr std::chrono::seconds kLogInterval{10};

double share_of(double part, double whole) {
  return whole > 0 ? std::min(1.0, part / whole) : 0;
}

/// Of work that goes on as it did so far.
std::string time_left(double seconds, double share) {
  return share > 0 ? fmt::format("ETA {}", duration_text(seconds / share * (1 - share))) : "";
}

}  // namespace

PrepareProgress::PrepareProgress() : bar_(standard_output_is_terminal(), kLogInterval) {
  restart();
}

void PrepareProgress::restart() {
  bar_.restart();
  start_ = std::chrono::steady_clock::now();
}

double PrepareProgress::seconds() const {
  return std::max(1e-3, seconds_since(start_));
}

bool PrepareProgress::is_due() {
  if (const int signal = stop_.received(); signal != 0) throw Interrupted{signal};
  return bar_.is_due();
}

ReadWatch PrepareProgress::reading() {
  return [this](const ReadProgress& progress) { show_reading(progress); };
}

void PrepareProgress::show_reading(const ReadProgress& progress) {
  if (progress.file != file_) {
    file_ = progress.file;
    start_ = std::chrono::steady_clock::now();
  }
  if (!is_due()) return;
  const auto bytes = static_cast<double>(progress.bytes), size = static_cast<double>(progress.size);
  const double share = share_of(bytes, size);
  bar_.show(share,
            fmt::format("reading {}: {:.0f} of {:.0f} MB  {:.1f} MB/s  {}", progress.file.string(),
                        bytes / 1e6, size / 1e6, bytes / 1e6 / seconds(), time_left(seconds(), share)));
}

StoreWatch PrepareProgress::storing() {
  StoreWatch watch;
  watch.tokenizing = [this](const TokenizeProgress& progress) { show_tokenizing(progress); };
  watch.writing = [this](std::int64_t bytes, std::int64_t total) { show_writing(bytes, total); };
  watch.say = [this](const std::string& message) { say(message); };
  return watch;
}

void PrepareProgress::show_tokenizing(const TokenizeProgress& progress) {
  if (!is_due()) return;
  const auto texts = static_cast<double>(progress.texts), tokens = static_cast<double>(progress.tokens);
  const auto total = static_cast<double>(progress.total), kept = static_cast<double>(progress.kept_texts);
  bar_.show(
      share_of(texts + kept, total),
      fmt::format("tokenized {} of {} texts  {} texts/s  {} tokens/s  {}",
                  progress.texts + progress.kept_texts, progress.total, short_number(texts / seconds()),
                  short_number(tokens / seconds()), time_left(seconds(), share_of(texts, total - kept))));
}

void PrepareProgress::show_writing(std::int64_t bytes, std::int64_t total) {
  if (!is_due()) return;
  const double share = share_of(static_cast<double>(bytes), static_cast<double>(total));
  bar_.show(share, fmt::format("writing texts: {:.0f} of {:.0f} MB", static_cast<double>(bytes) / 1e6,
                               static_cast<double>(total) / 1e6));
}

}  // namespace toller
