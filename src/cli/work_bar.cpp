#include "cli/work_bar.h"

#include <cstdio>

#include "progress_text.h"

namespace toller {

WorkBar::WorkBar(bool terminal, std::chrono::duration<double> interval)
    : terminal_(terminal), interval_(terminal ? std::chrono::duration<double>(0.2) : interval) {}

WorkBar::~WorkBar() {
  erase();
}

bool WorkBar::is_due() const {
  return Clock::now() - last_ >= interval_;
}

void WorkBar::show(double share, const std::string& text) {
  last_ = Clock::now();
  if (terminal_) {
    fmt::print("\r\033[K{} {}", progress_bar(share), text);
  } else {
    fmt::print("{:3.0f} %  {}\n", 100 * share, text);
  }
  is_shown_ = terminal_;
  std::fflush(stdout);
}

void WorkBar::say(const std::string& message) {
  erase();
  fmt::print("{}\n", message);
  std::fflush(stdout);
}

void WorkBar::restart() {
  erase();
  last_ = Clock::now();
}

void WorkBar::erase() {
  if (!is_shown_) return;
  fmt::print("\r\033[K");
  std::fflush(stdout);
  is_shown_ = false;
}

}  // namespace toller
