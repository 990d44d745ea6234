// SIGTERM, SIGINT and SIGUSR1 (what batch systems send ahead of a time limit) ask a run to stop after the
// step in hand.
#pragma once

namespace toller {

/// Installs the handlers for its lifetime and puts the old ones back. One at a time in a process. A second
/// signal of the same kind ends the process at once.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  /// Number of the signal that arrived on this process, or 0.
  int received() const;
};

}  // namespace toller
