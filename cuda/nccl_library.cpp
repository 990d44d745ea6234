#include "cuda/nccl_library.h"

#include <exception>

#include "cuda/nccl_communicator.h"
#include "cuda/shared_library.h"

namespace toller {

Nccl load_nccl() {
  const SharedLibrary library({"NCCL", "TOLLER_NCCL", {"libnccl.so.2"}, "install NCCL"});
  Nccl functions;
  library.resolve(functions.get_unique_id, "ncclGetUniqueId");
  library.resolve(functions.init_rank, "ncclCommInitRankConfig");
  library.resolve(functions.finalize, "ncclCommFinalize");
  library.resolve(functions.destroy, "ncclCommDestroy");
  library.resolve(functions.abort, "ncclCommAbort");
  library.resolve(functions.get_asynchronous_error, "ncclCommGetAsyncError");
  library.resolve(functions.error_text, "ncclGetErrorString");
  library.resolve(functions.last_error, "ncclGetLastError");
  library.resolve(functions.group_start, "ncclGroupStart");
  library.resolve(functions.group_end, "ncclGroupEnd");
  library.resolve(functions.all_gather, "ncclAllGather");
  library.resolve(functions.broadcast, "ncclBroadcast");
  library.resolve(functions.reduce_scatter, "ncclReduceScatter");
  library.resolve(functions.reduce, "ncclReduce");
  library.resolve(functions.all_reduce, "ncclAllReduce");
  return functions;
}

const Nccl& nccl() {
#if defined(HOST_CUDA)
  static const Nccl functions{
      ncclGetUniqueId,       ncclCommInitRankConfig, ncclCommFinalize,  ncclCommDestroy, ncclCommAbort,
      ncclCommGetAsyncError, ncclGetErrorString,     ncclGetLastError,  ncclGroupStart,  ncclGroupEnd,
      ncclAllGather,         ncclBroadcast,          ncclReduceScatter, ncclReduce,      ncclAllReduce};
#else
  static const Nccl functions = load_nccl();
#endif
  return functions;
}

std::string why_no_nccl() {
  try {
    nccl();
    return "";
  } catch (const std::exception& problem) {
    return problem.what();
  }
}

}  // namespace toller
