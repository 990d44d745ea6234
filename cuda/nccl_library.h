// NCCL, loaded when it is first used.
#pragma once

#include <nccl.h>

namespace toller {

/// The functions in use; NCCL 2.14 or newer has them all.
struct Nccl {
  decltype(&ncclGetUniqueId) get_unique_id = nullptr;
  decltype(&ncclCommInitRankConfig) init_rank = nullptr;
  decltype(&ncclCommFinalize) finalize = nullptr;
  decltype(&ncclCommDestroy) destroy = nullptr;
  decltype(&ncclCommAbort) abort = nullptr;
  decltype(&ncclCommGetAsyncError) get_asynchronous_error = nullptr;
  decltype(&ncclGetErrorString) error_text = nullptr;
  decltype(&ncclGetLastError) last_error = nullptr;
  decltype(&ncclGroupStart) group_start = nullptr;
  decltype(&ncclGroupEnd) group_end = nullptr;
  decltype(&ncclAllGather) all_gather = nullptr;
  decltype(&ncclBroadcast) broadcast = nullptr;
  decltype(&ncclReduceScatter) reduce_scatter = nullptr;
  decltype(&ncclReduce) reduce = nullptr;
  decltype(&ncclAllReduce) all_reduce = nullptr;
};

/// Opens libnccl.so.2, or the file that the environment variable TOLLER_NCCL names. Throws Error that says
/// where it looked, or which function a library lacks.
Nccl load_nccl();

/// The library of this process, loaded by the first call.
const Nccl& nccl();

}  // namespace toller
