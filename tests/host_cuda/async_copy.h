// cp.async on the host. A copy is done as late as CUDA may do it, at the wait; until then its target holds
// NaN bits, so that a kernel which reads too early gives a wrong result.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <vector>

#include "host_cuda/execution.h"

namespace host_cuda {

struct PendingCopy {
  void* to;
  const void* from;  ///< null: zeros
};

/// The copies that a thread of the block has under way.
inline std::vector<PendingCopy>& pending_copies() {
  thread_local std::array<std::vector<PendingCopy>, 1024> pending;
  return pending[current->rank];
}

inline void start_copy(void* to, const void* from,
                       const std::source_location& where = std::source_location::current()) {
  if ((reinterpret_cast<std::uintptr_t>(to) | reinterpret_cast<std::uintptr_t>(from)) % 16 != 0) {
    fail_in_kernel("cp.async between addresses that are not aligned to 16 bytes", where);
  }
  std::memset(to, 0xFF, 16);
  pending_copies().push_back({to, from});
}

inline void wait_for_copies() {
  for (const PendingCopy& copy : pending_copies()) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
  }
  pending_copies().clear();
}

}  // namespace host_cuda
