#include "cuda/cuda_backends.h"

#include <cuda_runtime.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <utility>

#include "cuda/cuda_ops.h"
#include "cuda/cuda_score_ops.h"
#include "cuda/gpu_sharing.h"
#include "cuda/launch.cuh"
#include "cuda/nccl_communicator.h"
#include "cuda/staged_communicator.h"
#include "error.h"

namespace toller {
namespace {

/// Tensor cores with bfloat16 and asynchronous copies begin here.
constexpr int kLeastMajor = 8;

/// The stream of a backend; the ops that use it are destroyed first.
class OwnedStream {
 public:
  OwnedStream() {
    check_cuda(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  }
  ~OwnedStream() { cudaStreamDestroy(stream_); }
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  cudaStream_t get() const { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

template <class T>
class StreamedOps final : private OwnedStream, public CudaOps<T> {
 public:
  StreamedOps() : CudaOps<T>(OwnedStream::get()) {}
};

int device_count() {
  int count = 0;
  if (cudaGetDeviceCount(&count) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return count;
}

/// Which of the ranks on this machine this one is.
int find_local_rank(Communicator& communicator) {
  std::array<char, 256> own{};
  gethostname(own.data(), own.size() - 1);
  int local = 0;
  for (int rank = 0; rank < communicator.size(); ++rank) {
    std::array<char, 256> name = own;
    communicator.broadcast(std::span(reinterpret_cast<std::uint8_t*>(name.data()), name.size()), rank);
    if (rank < communicator.rank() && name == own) ++local;
  }
  return local;
}

/// Why the ranks cannot use NCCL together; empty if they can. The same answer on every rank.
std::string why_no_nccl_together(Communicator& communicator) {
  if (const std::string shared = shared_gpu(communicator); !shared.empty()) return shared;
  const std::string reason = why_no_nccl();
  std::array<std::int64_t, 1> missing{reason.empty() ? 0 : 1};
  communicator.all_reduce_max(missing);
  if (missing[0] == 0) return "";
  return reason.empty() ? "another rank cannot load NCCL" : reason;
}

class CudaBackends final : public GpuBackends {
 public:
  explicit CudaBackends(std::function<void(const std::string&)> abort) : abort_(std::move(abort)) {}

  std::string why_none() const override {
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess) {
      cudaGetLastError();
      return fmt::format("no GPU can be used: {} (nvidia-smi shows driver and GPUs)",
                         cudaGetErrorString(error));
    }
    return count == 0 ? "this machine has no GPU" : "";
  }
  Backend<BFloat16> make_bfloat16(const DeviceOptions& options, Communicator& communicator) override {
    return make<BFloat16>(options, communicator, "bf16");
  }
  Backend<float> make_float(const DeviceOptions& options, Communicator& communicator) override {
    return make<float>(options, communicator, "float");
  }

 private:
  template <class T>
  Backend<T> make(const DeviceOptions& options, Communicator& communicator, const char* precision) {
    const int device = find_local_rank(communicator) % std::max(1, device_count());
    check_cuda(cudaSetDevice(device), "cudaSetDevice");
    cudaDeviceProp properties{};
    check_cuda(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
    if (properties.major < kLeastMajor) {
      fail("GPU {} ({}) has compute capability {}.{}; 8.0 and newer are supported (A100, RTX 30 and later)",
           device, properties.name, properties.major, properties.minor);
    }
    auto ops = std::make_unique<StreamedOps<T>>();
    auto score_ops = std::make_unique<CudaScoreOps<T>>(*ops);
    std::string collectives;
    auto tensors = make_communicator(options, ops->stream(), communicator, collectives);
    return {.ops = std::move(ops),
            .score_ops = std::move(score_ops),
            .communicator = std::move(tensors),
            .name = fmt::format("GPU {} ({}), {}{}", device, properties.name, precision, collectives),
            .steps_ahead = 1,
            .has_own_memory = true};
  }

  /// `name` gets what it is called.
  std::unique_ptr<TensorCommunicator> make_communicator(const DeviceOptions& options, cudaStream_t stream,
                                                        Communicator& communicator, std::string& name) {
    bool nccl = false;
    if (communicator.size() > 1 && options.communicator != "mpi") {
      const std::string reason = why_no_nccl_together(communicator);
      nccl = reason.empty();
      if (!nccl && options.communicator == "nccl") fail("--communicator nccl: {}", reason);
    }
    if (communicator.size() > 1) name = nccl ? ", NCCL" : ", MPI";
    if (!nccl) return std::make_unique<StagedCommunicator>(communicator, stream);
    const auto time_out = std::chrono::milliseconds(std::llround(1000 * options.timeout));
    return make_nccl_communicator(communicator, stream, {.time_out = time_out, .on_failure = abort_});
  }

  std::function<void(const std::string&)> abort_;
};

}  // namespace

std::unique_ptr<GpuBackends> make_cuda_backends(std::function<void(const std::string&)> abort) {
  return std::make_unique<CudaBackends>(std::move(abort));
}

}  // namespace toller
