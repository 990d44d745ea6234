#include "device/backend.h"

#include <array>

#include "choice.h"
#include "comm/host_tensor_communicator.h"
#include "error.h"

namespace toller {
namespace {

/// The lowest rank without a GPU; the number of ranks when all have one.
int first_without_gpu(bool has_gpu, Communicator& communicator) {
  std::array<std::int64_t, 1> last{has_gpu ? 0 : communicator.size() - communicator.rank()};
  communicator.all_reduce_max(last);
  return communicator.size() - static_cast<int>(last[0]);
}

}  // namespace

void DeviceOptions::validate() const {
  require_choice("--device", device, {"auto", "cpu", "cuda"});
  require_choice("--precision", precision, {"auto", "bf16", "float", "double"});
  require_choice("--communicator", communicator, {"auto", "nccl", "mpi"});
  if (!(timeout > 0)) fail_usage("--timeout is {}, must be above 0", timeout);
}

DeviceChoice choose_device(const DeviceOptions& options, const GpuBackends& gpus, Communicator& communicator,
                           const std::string& gpu_precision) {
  options.validate();
  DeviceChoice choice;
  if (options.device != "cpu" && options.precision != "double") {
    const std::string reason = gpus.why_none();
    const int first = first_without_gpu(reason.empty(), communicator);
    choice.gpu = first == communicator.size();
    if (!choice.gpu && options.device == "cuda") {
      fail_usage("--device cuda: {}",
                 reason.empty() ? fmt::format("rank {} has no GPU to compute on", first) : reason);
    }
  }
  if (options.device == "cuda" && options.precision == "double") {
    fail_usage("--precision double is for --device cpu; a GPU computes in bf16 or float");
  }
  if (!choice.gpu && options.precision == "bf16") {
    fail_usage("--precision bf16 is for a GPU; the CPU computes in float or double");
  }
  choice.precision = options.precision != "auto" ? options.precision : choice.gpu ? gpu_precision : "float";
  return choice;
}

template <class T>
Backend<T> make_cpu_backend(Communicator& communicator) {
  return {.ops = make_cpu_ops<T>(),
          .score_ops = make_cpu_score_ops<T>(),
          .communicator = std::make_unique<HostTensorCommunicator>(communicator),
          .name = "CPU"};
}

template Backend<float> make_cpu_backend<float>(Communicator&);
template Backend<double> make_cpu_backend<double>(Communicator&);

}  // namespace toller
