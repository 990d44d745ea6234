// The GPUs of this machine as backends. Part of every build: one without nvcc says that it has none.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "device/backend.h"

namespace toller {

/// `abort` is called from another thread when a collective between GPUs fails or takes longer than the
/// time-out, with a message that names rank and operation; it ends the job.
std::unique_ptr<GpuBackends> make_cuda_backends(std::function<void(const std::string&)> abort);

}  // namespace toller
