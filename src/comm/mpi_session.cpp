#include "comm/mpi_session.h"

#include <fcntl.h>
#include <mpi.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "comm/mpi_communicator.h"
#include "error.h"

namespace toller {
namespace {

/// Open MPI's own launcher, and the two process managers through which srun and MPICH's mpirun start ranks.
bool started_by_launcher() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

/// srun without an MPI plug-in would start n independent runs that overwrite each other's files.
void refuse_unconnected_tasks() {
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  if (tasks != nullptr && std::atoi(tasks) > 1) {
    fail("srun started {} tasks without MPI support: use 'srun --mpi=pmix' or mpirun", tasks);
  }
}

}  // namespace

MpiSession::MpiSession(int& argc, char**& argv) {
  if (!started_by_launcher()) {
    refuse_unconnected_tasks();
    communicator_ = std::make_unique<SelfCommunicator>();
    return;
  }
  int provided = MPI_THREAD_SINGLE;
  // Serialised: gradients may be summed from another thread than the one that computes them.
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &provided);
  initialised_ = true;
  communicator_ = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD);
}

MpiSession::~MpiSession() {
  communicator_.reset();
  if (initialised_) MPI_Finalize();
}

void MpiSession::abort(int status) {
  if (initialised_ && communicator_->size() > 1) MPI_Abort(MPI_COMM_WORLD, status);
}

bool standard_output_is_terminal() {
  if (isatty(STDOUT_FILENO) == 0) return false;
  if (!started_by_launcher()) return true;
  // mpirun is the parent of the ranks on its own machine; elsewhere a daemon is, whose output is no terminal.
  const int launcher = open(fmt::format("/proc/{}/fd/1", getppid()).c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC);
  if (launcher < 0) return false;
  const bool terminal = isatty(launcher) != 0;
  close(launcher);
  return terminal;
}

}  // namespace toller
