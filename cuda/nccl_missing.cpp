// Takes the place of nccl_communicator.cpp where the compiler finds no nccl.h.
#include "cuda/nccl_communicator.h"
#include "error.h"

namespace toller {

std::string why_no_nccl() {
  return "this build has no NCCL, whose nccl.h was not found when it was made";
}

std::unique_ptr<TensorCommunicator> make_nccl_communicator(Communicator&, cudaStream_t, NcclOptions) {
  fail("{}: use --communicator mpi", why_no_nccl());
}

}  // namespace toller
