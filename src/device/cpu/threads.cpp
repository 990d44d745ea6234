#include "device/cpu/threads.h"

#include <omp.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace toller {
namespace {

/// Ranks on this machine, as Open MPI or Slurm say; 1 when started by hand.
int ranks_on_machine() {
  for (const char* name : {"OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"}) {
    if (const char* value = std::getenv(name)) return std::max(1, std::atoi(value));
  }
  return 1;
}

int default_threads() {
  if (std::getenv("OMP_NUM_THREADS") != nullptr) return omp_get_max_threads();
  const int usable = omp_get_num_procs();
  const bool bound = usable < sysconf(_SC_NPROCESSORS_ONLN);
  return bound ? usable : std::max(1, usable / ranks_on_machine());
}

}  // namespace

int set_threads(int requested) {
  const int threads = requested > 0 ? requested : default_threads();
  omp_set_num_threads(threads);
  return threads;
}

}  // namespace toller
