// This process's part in an MPI job: start, end, and how one rank's failure ends them all.
#pragma once

#include <memory>

#include "comm/communicator.h"

namespace toller {

/// Starts MPI if mpirun, srun or another launcher started this process; a process started by hand is alone
/// and never calls MPI_Init, so that commands start fast and work where MPI cannot. One object a process,
/// made before anything else and destroyed last.
class MpiSession {
 public:
  /// Throws Error when Slurm started several tasks that cannot see each other.
  MpiSession(int& argc, char**& argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  Communicator& communicator() { return *communicator_; }

  /// Ends every rank with this status. Returns only when this process is alone.
  void abort(int status);

 private:
  std::unique_ptr<Communicator> communicator_;
  bool initialised_ = false;
};

/// Whether a person sees this process's standard output at once. isatty does not tell: Open MPI's mpirun
/// gives every rank a pseudo-terminal and copies what it reads there to its own output, which may be a file.
bool standard_output_is_terminal();

}  // namespace toller
