#include "cuda/gpu_sharing.h"

#include <unistd.h>

#include <array>
#include <cstring>
#include <fstream>
#include <map>
#include <utility>
#include <vector>

#include "cuda/launch.cuh"
#include "error.h"

namespace toller {
namespace {

/// A GPU anywhere in the job. Host names may repeat, the identity that a machine draws when it starts not.
struct GpuName {
  std::array<char, 65> host{};
  std::array<char, 40> boot{};
  std::array<char, 32> bus{};

  std::string key() const {
    return fmt::format("{} {} {}", std::string_view(host.data()), std::string_view(boot.data()),
                       std::string_view(bus.data()));
  }
};

GpuName own_gpu() {
  GpuName name;
  gethostname(name.host.data(), name.host.size() - 1);
  std::ifstream("/proc/sys/kernel/random/boot_id").read(name.boot.data(), name.boot.size() - 4);
  int device = 0;
  check_cuda(cudaGetDevice(&device), "cudaGetDevice");
  check_cuda(cudaDeviceGetPCIBusId(name.bus.data(), static_cast<int>(name.bus.size()), device),
             "cudaDeviceGetPCIBusId");
  return name;
}

/// Every rank's, in rank order.
std::vector<GpuName> all_gpus(Communicator& communicator) {
  std::vector<GpuName> names(static_cast<std::size_t>(communicator.size()));
  names[static_cast<std::size_t>(communicator.rank())] = own_gpu();
  for (int r = 0; r < communicator.size(); ++r) {
    std::array<std::uint8_t, sizeof(GpuName)> bytes;
    GpuName& name = names[static_cast<std::size_t>(r)];
    std::memcpy(bytes.data(), &name, sizeof name);
    communicator.broadcast(bytes, r);
    std::memcpy(&name, bytes.data(), sizeof name);
  }
  return names;
}

}  // namespace

std::string shared_gpu(Communicator& communicator) {
  const std::vector<GpuName> names = all_gpus(communicator);
  std::map<std::string, std::size_t> users;
  for (std::size_t r = 0; r < names.size(); ++r) {
    const auto [user, first] = users.emplace(names[r].key(), r);
    if (!first) {
      return fmt::format("ranks {} and {} share the GPU {} of {}", user->second, r, names[r].bus.data(),
                         names[r].host.data());
    }
  }
  return {};
}

}  // namespace toller
