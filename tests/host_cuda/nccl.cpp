// NCCL for ranks that are threads: they meet, look at what all have asked for, make the results from each
// other's buffers, meet again, and write.
#include <cuda_bf16.h>
#include <fmt/format.h>
#include <nccl.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace {

constexpr std::chrono::seconds kPatience{20};

enum class Kind { kAllGather, kBroadcast, kReduceScatter, kReduce, kAllReduce };

/// One collective as a rank asks for it.
struct Call {
  Kind kind;
  const void* send;
  void* receive;
  std::size_t count;
  ncclDataType_t type;
  ncclRedOp_t operation;
  int root;
  ncclComm_t comm;
  cudaStream_t stream;

  bool same_as(const Call& other) const {
    return kind == other.kind && count == other.count && type == other.type && operation == other.operation &&
           root == other.root;
  }
};
using Calls = std::vector<Call>;

/// What the ranks of a communicator share.
class Clique {
 public:
  explicit Clique(int ranks) : calls_(ranks), devices_(ranks, -1) {}

  int size() const { return static_cast<int>(calls_.size()); }

  bool join(int rank, int device) {
    const std::lock_guard lock(mutex_);
    if (devices_[rank] != -1) return false;
    devices_[rank] = device;
    ++joined_;
    return true;
  }
  ncclResult_t joined() {
    const std::lock_guard lock(mutex_);
    if (joined_ < size()) return broken_ ? ncclRemoteError : ncclInProgress;
    std::vector<int> sorted = devices_;
    std::ranges::sort(sorted);
    return std::ranges::adjacent_find(sorted) == sorted.end() ? ncclSuccess : ncclInvalidUsage;
  }

  /// Waits until all ranks are here. False when a rank has left or does not come.
  bool meet() {
    std::unique_lock lock(mutex_);
    if (broken_) return false;
    const std::int64_t meeting = meetings_;
    if (++arrived_ == size()) {
      arrived_ = 0;
      ++meetings_;
      all_here_.notify_all();
      return true;
    }
    all_here_.wait_for(lock, kPatience, [&] { return meetings_ != meeting || broken_; });
    if (meetings_ != meeting) return true;
    broken_ = true;
    all_here_.notify_all();
    return false;
  }
  void leave() {
    const std::lock_guard lock(mutex_);
    broken_ = true;
    all_here_.notify_all();
  }

  /// Shows this rank's calls to the others, until they meet again.
  void show(int rank, const Calls& calls) {
    const std::lock_guard lock(mutex_);
    calls_[rank] = &calls;
  }
  const Calls& calls(int rank) const { return *calls_[rank]; }

  std::atomic<bool> hangs = false;

 private:
  std::mutex mutex_;
  std::condition_variable all_here_;
  std::vector<const Calls*> calls_;
  std::vector<int> devices_;
  int joined_ = 0, arrived_ = 0;
  std::int64_t meetings_ = 0;
  bool broken_ = false;
};

std::mutex registry_mutex;
std::map<std::string, std::weak_ptr<Clique>>& cliques() {
  static std::map<std::string, std::weak_ptr<Clique>> map;
  return map;
}

std::atomic<int> communicators = 0, unique_ids = 0;
std::atomic<int> hanging_rank = -1, failing_rank = -1;

thread_local int group_depth = 0;
thread_local Calls group_calls;
thread_local ncclResult_t group_error = ncclSuccess;

}  // namespace

struct ncclComm {
  std::shared_ptr<Clique> clique;
  int rank;
  std::shared_ptr<host_cuda::Halt> halt = std::make_shared<host_cuda::Halt>();
  std::atomic<bool> unsettled = true;  ///< the last call is in progress until its state is asked for
  bool has_communicated = false;
  std::atomic<bool> finalizing = false;
  std::atomic<ncclResult_t> asynchronous_error = ncclSuccess;
  const char* last_error = "";
};

namespace {

ncclResult_t refuse(ncclComm_t comm, const char* text, ncclResult_t result = ncclInvalidArgument) {
  comm->last_error = text;
  return result;
}

std::size_t element_bytes(ncclDataType_t type) {
  return type == ncclFloat64 ? 8 : type == ncclFloat32 ? 4 : 2;
}

std::size_t send_count(const Call& call, int ranks) {
  return call.kind == Kind::kReduceScatter ? call.count * static_cast<std::size_t>(ranks) : call.count;
}
std::size_t receive_count(const Call& call, int ranks) {
  return call.kind == Kind::kAllGather ? call.count * static_cast<std::size_t>(ranks) : call.count;
}

bool sends(const Call& call) {
  return call.kind != Kind::kBroadcast || call.comm->rank == call.root;
}
bool receives(const Call& call) {
  return call.kind != Kind::kReduce || call.comm->rank == call.root;
}

/// May the buffers lie as they do? Apart, or where in place means.
bool buffers_fit(const Call& call, std::size_t send_bytes, std::size_t receive_bytes) {
  const auto *send = static_cast<const char*>(call.send), *receive = static_cast<const char*>(call.receive);
  if (send + send_bytes <= receive || receive + receive_bytes <= send) return true;
  const std::size_t own = static_cast<std::size_t>(call.comm->rank) * call.count * element_bytes(call.type);
  if (call.kind == Kind::kAllGather) return send == receive + own;
  if (call.kind == Kind::kReduceScatter) return receive == send + own;
  return send == receive;
}

ncclResult_t check(const Call& call) {
  const ncclComm_t comm = call.comm;
  if (comm->unsettled) return refuse(comm, "a call before the previous one had returned ncclSuccess");
  if (comm->asynchronous_error != ncclSuccess) return refuse(comm, "a call after an error");
  if (call.type != ncclFloat32 && call.type != ncclFloat64 && call.type != ncclBfloat16)
    return refuse(comm, "unknown data type");
  if (call.operation != ncclSum && call.operation != ncclMax) return refuse(comm, "unknown reduction");
  if (call.root < 0 || call.root >= comm->clique->size()) return refuse(comm, "no such root");
  const std::size_t send_bytes = send_count(call, comm->clique->size()) * element_bytes(call.type);
  const std::size_t receive_bytes = receive_count(call, comm->clique->size()) * element_bytes(call.type);
  if (call.count == 0) return ncclSuccess;
  if (sends(call) && !host_cuda::is_device_range(call.send, send_bytes))
    return refuse(comm, "the send buffer is not in one allocation of device memory");
  if (receives(call) && !host_cuda::is_device_range(call.receive, receive_bytes))
    return refuse(comm, "the receive buffer is not in one allocation of device memory");
  if (sends(call) && receives(call) && !buffers_fit(call, send_bytes, receive_bytes))
    return refuse(comm, "the buffers overlap");
  return ncclSuccess;
}

float combine(float a, float b, ncclRedOp_t operation) {
  return operation == ncclSum ? a + b : std::fmax(a, b);
}
double combine(double a, double b, ncclRedOp_t operation) {
  return operation == ncclSum ? a + b : std::fmax(a, b);
}
__nv_bfloat16 combine(__nv_bfloat16 a, __nv_bfloat16 b, ncclRedOp_t operation) {
  return __float2bfloat16_rn(combine(__bfloat162float(a), __bfloat162float(b), operation));
}

/// The elements [begin, begin + count) of call number `index`, over all ranks in rank order.
template <class T>
void reduce(const Clique& clique, std::size_t index, std::size_t begin, std::size_t count,
            ncclRedOp_t operation, T* result) {
  const auto send = [&](int rank) { return static_cast<const T*>(clique.calls(rank)[index].send) + begin; };
  std::copy_n(send(0), count, result);
  for (int r = 1; r < clique.size(); ++r) {
    for (std::size_t i = 0; i < count; ++i) result[i] = combine(result[i], send(r)[i], operation);
  }
}

void reduce_bytes(const Clique& clique, std::size_t index, std::size_t begin, const Call& call,
                  void* result) {
  if (call.type == ncclFloat64) {
    reduce(clique, index, begin, call.count, call.operation, static_cast<double*>(result));
  } else if (call.type == ncclFloat32) {
    reduce(clique, index, begin, call.count, call.operation, static_cast<float*>(result));
  } else {
    reduce(clique, index, begin, call.count, call.operation, static_cast<__nv_bfloat16*>(result));
  }
}

/// What this rank receives from call number `index`.
std::vector<char> result_of(const Clique& clique, const Call& call, std::size_t index) {
  const std::size_t block = call.count * element_bytes(call.type);
  if (!receives(call) || block == 0) return {};
  std::vector<char> result(receive_count(call, clique.size()) * element_bytes(call.type));
  switch (call.kind) {
    case Kind::kAllGather:
      for (int r = 0; r < clique.size(); ++r)
        std::memcpy(result.data() + r * block, clique.calls(r)[index].send, block);
      break;
    case Kind::kBroadcast:
      std::memcpy(result.data(), clique.calls(call.root)[index].send, block);
      break;
    case Kind::kReduceScatter:
      reduce_bytes(clique, index, static_cast<std::size_t>(call.comm->rank) * call.count, call,
                   result.data());
      break;
    case Kind::kReduce:
    case Kind::kAllReduce:
      reduce_bytes(clique, index, 0, call, result.data());
      break;
  }
  return result;
}

bool all_ask_for_the_same(const Clique& clique) {
  const Calls& first = clique.calls(0);
  for (int r = 1; r < clique.size(); ++r) {
    if (!std::ranges::equal(clique.calls(r), first,
                            [](const Call& a, const Call& b) { return a.same_as(b); }))
      return false;
  }
  return true;
}

/// The faults in force, as this rank sees them; true when its calls come to nothing.
bool come_to_nothing(ncclComm_t comm, const Calls& calls) {
  const int failing = failing_rank;
  const auto takes_part = [&](int rank) { return rank >= 0 && rank < comm->clique->size(); };
  if (takes_part(hanging_rank) || takes_part(failing)) comm->clique->hangs = true;
  if (!comm->clique->hangs) return false;
  for (const Call& call : calls) host_cuda::hold_up(call.stream, comm->halt);
  if (takes_part(failing))
    comm->asynchronous_error = comm->rank == failing ? ncclSystemError : ncclRemoteError;
  return true;
}

/// The calls of one group, on one communicator.
ncclResult_t communicate(ncclComm_t comm, const Calls& calls) {
  Clique& clique = *comm->clique;
  if (come_to_nothing(comm, calls)) return ncclSuccess;
  clique.show(comm->rank, calls);
  if (!clique.meet()) return refuse(comm, "a rank has left or did not come", ncclRemoteError);
  const bool same = all_ask_for_the_same(clique);
  std::vector<std::vector<char>> results;
  for (std::size_t i = 0; same && i < calls.size(); ++i) results.push_back(result_of(clique, calls[i], i));
  if (!clique.meet()) return refuse(comm, "a rank has left", ncclRemoteError);
  if (!same) return refuse(comm, "the ranks ask for different collectives or sizes");
  for (std::size_t i = 0; i < calls.size(); ++i) {
    if (!results[i].empty()) std::memcpy(calls[i].receive, results[i].data(), results[i].size());
  }
  if (comm->has_communicated) return ncclSuccess;
  comm->has_communicated = true;
  comm->unsettled = true;
  return ncclInProgress;
}

ncclResult_t queue(const Call& call) {
  if (call.comm == nullptr) return ncclInvalidArgument;
  ncclGroupStart();
  const ncclResult_t result = check(call);
  if (result == ncclSuccess) {
    group_calls.push_back(call);
  } else {
    group_error = result;
  }
  const ncclResult_t end = ncclGroupEnd();
  return result == ncclSuccess ? end : result;
}

/// Ends this rank's part.
void remove(ncclComm_t comm) {
  comm->halt->release();
  delete comm;
  --communicators;
}

}  // namespace

namespace host_cuda {

void set_nccl_faults(const NcclFaults& faults) {
  hanging_rank = faults.hanging_rank;
  failing_rank = faults.failing_rank;
}

int nccl_communicators() {
  return communicators;
}

}  // namespace host_cuda

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  if (id == nullptr) return ncclInvalidArgument;
  *id = {};
  const std::string text = fmt::format("clique {}", ++unique_ids);
  std::copy(text.begin(), text.end(), id->internal);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int ranks, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  if (comm == nullptr || rank < 0 || rank >= ranks || config == nullptr) return ncclInvalidArgument;
  if (config->size != sizeof(ncclConfig_t) || config->magic != 0xcafebeef) return ncclInvalidArgument;
  if (config->blocking != 0) return ncclInvalidUsage;  // not offered here
  const std::lock_guard lock(registry_mutex);
  std::weak_ptr<Clique>& known = cliques()[id.internal];
  std::shared_ptr<Clique> clique = known.lock();
  if (!clique) known = clique = std::make_shared<Clique>(ranks);
  int device = 0;
  cudaGetDevice(&device);
  if (clique->size() != ranks || !clique->join(rank, device)) return ncclInvalidArgument;
  *comm = new ncclComm{clique, rank};
  ++communicators;
  return ncclInProgress;
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  if (comm == nullptr) return ncclInvalidArgument;
  if (comm->unsettled) return refuse(comm, "a call before the previous one had returned ncclSuccess");
  comm->unsettled = comm->finalizing = true;
  return ncclInProgress;
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm == nullptr) return ncclInvalidArgument;
  if (comm->unsettled) return refuse(comm, "destroyed before ncclCommFinalize had finished");
  remove(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  if (comm == nullptr) return ncclInvalidArgument;
  comm->clique->leave();
  remove(comm);
  return ncclSuccess;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* result) {
  if (comm == nullptr || result == nullptr) return ncclInvalidArgument;
  *result = comm->asynchronous_error;
  if (*result == ncclSuccess) *result = comm->clique->joined();
  if (*result == ncclSuccess && comm->finalizing && comm->clique->hangs) *result = ncclInProgress;
  if (*result == ncclSuccess) comm->unsettled = false;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess:
      return "no error";
    case ncclUnhandledCudaError:
      return "unhandled cuda error";
    case ncclSystemError:
      return "unhandled system error";
    case ncclInternalError:
      return "internal error";
    case ncclInvalidArgument:
      return "invalid argument";
    case ncclInvalidUsage:
      return "invalid usage";
    case ncclRemoteError:
      return "remote process exited or there was a network error";
    case ncclInProgress:
      return "NCCL operation in progress";
  }
  return "unknown result code";
}

const char* ncclGetLastError(ncclComm_t comm) {
  return comm == nullptr ? "" : comm->last_error;
}

ncclResult_t ncclGroupStart() {
  ++group_depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group_depth == 0) return ncclInvalidUsage;
  if (--group_depth > 0) return ncclSuccess;
  const Calls calls = std::exchange(group_calls, {});
  const ncclResult_t error = std::exchange(group_error, ncclSuccess);
  if (error != ncclSuccess || calls.empty()) return error;
  return communicate(calls.front().comm, calls);
}

ncclResult_t ncclAllGather(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return queue({Kind::kAllGather, send, receive, count, type, ncclSum, 0, comm, stream});
}

ncclResult_t ncclBroadcast(const void* send, void* receive, std::size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return queue({Kind::kBroadcast, send, receive, count, type, ncclSum, root, comm, stream});
}

ncclResult_t ncclReduceScatter(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                               ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream) {
  return queue({Kind::kReduceScatter, send, receive, count, type, operation, 0, comm, stream});
}

ncclResult_t ncclReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                        ncclRedOp_t operation, int root, ncclComm_t comm, cudaStream_t stream) {
  return queue({Kind::kReduce, send, receive, count, type, operation, root, comm, stream});
}

ncclResult_t ncclAllReduce(const void* send, void* receive, std::size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t comm, cudaStream_t stream) {
  return queue({Kind::kAllReduce, send, receive, count, type, operation, 0, comm, stream});
}
