// Whether all ranks hold the same: they compute the same parameters, each for itself, so that a fault of one
// machine (memory, processor, GPU, library) would otherwise go unnoticed.
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.h"

namespace toller {

/// `hash`: of what must be the same on every rank; `what` names it, and when. Throws Error on every rank that
/// names the ranks apart from the majority, or the groups where there is none. Collective.
void require_same_on_all_ranks(std::uint64_t hash, const std::string& what, Communicator& communicator);

}  // namespace toller
