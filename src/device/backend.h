// What computes: the operations, memory and collectives of one device, and how one is chosen.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>

#include "comm/communicator.h"
#include "comm/tensor_communicator.h"
#include "device/ops.h"
#include "device/score_ops.h"

namespace toller {

template <class T>
struct Backend {
  std::unique_ptr<Ops<T>> ops;
  std::unique_ptr<ScoreOps<T>> score_ops;
  std::unique_ptr<TensorCommunicator> communicator;
  std::string name;             ///< for people: "CPU", "GPU 0: NVIDIA …, bfloat16, NCCL"
  std::size_t steps_ahead = 0;  ///< steps worth queueing before the results of one are read
  bool has_own_memory = false;  ///< its memory is not the host's: what a run needs is checked beforehand
};

/// `communicator` must outlive the result. T is float or double.
template <class T>
Backend<T> make_cpu_backend(Communicator& communicator);

/// What the user asked for. The same on every rank.
struct DeviceOptions {
  std::string device = "auto";        ///< auto (a GPU where every rank has one), cpu, cuda
  std::string precision = "auto";     ///< auto, bf16 (GPU), float, double (CPU)
  std::string communicator = "auto";  ///< between GPUs: auto, nccl, mpi (by way of the host)
  double timeout = 600;               ///< seconds that a collective may take (on the CPU: in training)

  /// UsageError that names the flag for a value that is none of these.
  void validate() const;
};

/// The GPUs that this program can use (cuda/cuda_backends.h).
class GpuBackends {
 public:
  virtual ~GpuBackends() = default;
  /// Why this process has no GPU to compute on; empty if it has.
  virtual std::string why_none() const = 0;
  /// Collective. Throw Error when the device or its libraries cannot be used.
  virtual Backend<BFloat16> make_bfloat16(const DeviceOptions& options, Communicator& communicator) = 0;
  virtual Backend<float> make_float(const DeviceOptions& options, Communicator& communicator) = 0;
};

/// A device and a precision, the same on every rank.
struct DeviceChoice {
  bool gpu = false;
  std::string precision;  ///< bf16, float or double
};

/// Resolves "auto": a GPU if every rank has one; bf16 there and float on the CPU, or `gpu_precision` on a
/// GPU. UsageError for what cannot be had, naming the reason and the rank. Collective.
DeviceChoice choose_device(const DeviceOptions& options, const GpuBackends& gpus, Communicator& communicator,
                           const std::string& gpu_precision = "bf16");

/// Calls use(Backend<T>) for the chosen device and precision and returns its result.
template <class Use>
auto with_backend(const DeviceChoice& choice, const DeviceOptions& options, GpuBackends& gpus,
                  Communicator& communicator, Use use) {
  if (choice.gpu && choice.precision == "bf16") return use(gpus.make_bfloat16(options, communicator));
  if (choice.gpu) return use(gpus.make_float(options, communicator));
  if (choice.precision == "double") return use(make_cpu_backend<double>(communicator));
  return use(make_cpu_backend<float>(communicator));
}

}  // namespace toller
