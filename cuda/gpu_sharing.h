// Which ranks compute on the same GPU.
#pragma once

#include <string>

#include "comm/communicator.h"

namespace toller {

/// "ranks 0 and 2 share the GPU 0000:17:00.0 of node7" for the first two that do, empty where each rank's
/// current device is its own. The same on every rank; collective.
std::string shared_gpu(Communicator& communicator);

}  // namespace toller
