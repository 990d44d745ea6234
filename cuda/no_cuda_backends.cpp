#include "cuda/cuda_backends.h"
#include "error.h"

namespace toller {
namespace {

class NoCudaBackends final : public GpuBackends {
 public:
  std::string why_none() const override {
    return "this toller was built without CUDA (nvcc was not found); build it where the CUDA toolkit is";
  }
  Backend<BFloat16> make_bfloat16(const DeviceOptions&, Communicator&) override { fail("{}", why_none()); }
  Backend<float> make_float(const DeviceOptions&, Communicator&) override { fail("{}", why_none()); }
};

}  // namespace

std::unique_ptr<GpuBackends> make_cuda_backends(std::function<void(const std::string&)>) {
  return std::make_unique<NoCudaBackends>();
}

}  // namespace toller
