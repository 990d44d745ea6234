// Stands in for NCCL's nccl.h: the part that Toller uses. Ranks are threads of one program, each with a
// device of its own (host_cuda::set_device_count, cudaSetDevice), that meet by the unique id. Work is done at
// the call, sums add in rank order, maxima leave NaNs out as NCCL's do. Communicators are non-blocking: the
// first collective is "in progress" until it is asked for, as while NCCL connects.
//
// Errors instead of what NCCL leaves to chance or to waiting: ranks that ask for different things, memory
// that is not the device's, send and receive buffers that overlap in another way than in place, and calls
// before the last one is settled. A rank that never comes is an error for the others after 20 seconds.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#define NCCL_UNIQUE_ID_BYTES 128
struct ncclUniqueId {
  char internal[NCCL_UNIQUE_ID_BYTES];
};

enum ncclResult_t {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInternalError = 3,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7,
};
enum ncclDataType_t { ncclFloat32 = 7, ncclFloat64 = 8, ncclBfloat16 = 9 };
enum ncclRedOp_t { ncclSum = 0, ncclMax = 2 };

struct ncclConfig_t {
  std::size_t size;
  unsigned magic;
  int blocking;
};
#define NCCL_CONFIG_INITIALIZER \
  { sizeof(ncclConfig_t), 0xcafebeef, 1 }

using ncclComm_t = struct ncclComm*;

extern "C" {
ncclResult_t ncclGetUniqueId(ncclUniqueId* id);
ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config);
ncclResult_t ncclCommFinalize(ncclComm_t comm);
ncclResult_t ncclCommDestroy(ncclComm_t comm);
ncclResult_t ncclCommAbort(ncclComm_t comm);
ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result);
const char* ncclGetErrorString(ncclResult_t result);
const char* ncclGetLastError(ncclComm_t comm);
ncclResult_t ncclGroupStart();
ncclResult_t ncclGroupEnd();
ncclResult_t ncclAllGather(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclBroadcast(const void* send, void* receive, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclReduceScatter(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                               ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                        ncclRedOp_t operation, int root, ncclComm_t comm, cudaStream_t stream);
ncclResult_t ncclAllReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream);
}

namespace host_cuda {

/// What goes wrong in the collectives from now on, in every communicator. None of it makes the calls fail.
struct NcclFaults {
  int hanging_rank = -1;  ///< never takes part: no rank's operations finish before it aborts
  int failing_rank = -1;  ///< has an asynchronous ncclSystemError, the others ncclRemoteError
};
void set_nccl_faults(const NcclFaults& faults);

/// Communicators that are neither destroyed nor aborted.
int nccl_communicators();

}  // namespace host_cuda
