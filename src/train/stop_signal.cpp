#include "train/stop_signal.h"

#include <array>
#include <csignal>

namespace toller {
namespace {

constexpr std::array kSignals{SIGTERM, SIGINT, SIGUSR1};
volatile std::sig_atomic_t received_signal = 0;
std::array<struct sigaction, kSignals.size()> old_actions;

void note_signal(int signal) {
  received_signal = signal;
}

}  // namespace

StopSignal::StopSignal() {
  received_signal = 0;
  struct sigaction action = {};
  action.sa_handler = note_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &old_actions[i]);
}

StopSignal::~StopSignal() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &old_actions[i], nullptr);
}

int StopSignal::received() const {
  return received_signal;
}

}  // namespace toller
