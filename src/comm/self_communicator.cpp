#include <algorithm>

#include "comm/blocks.h"
#include "comm/communicator.h"

namespace toller {
namespace {

template <class T>
void copy_block(std::span<const T> from, std::span<const std::int64_t> counts, std::span<T> to,
                const char* operation) {
  check_blocks(counts, 0, 1, to.size(), from.size(), operation);
  std::ranges::copy(from, to.begin());
}

}  // namespace

void SelfCommunicator::all_gather(std::span<const float> local, std::span<const std::int64_t> counts,
                                  std::span<float> all) {
  copy_block(local, counts, all, "all_gather");
}

void SelfCommunicator::all_gather(std::span<const double> local, std::span<const std::int64_t> counts,
                                  std::span<double> all) {
  copy_block(local, counts, all, "all_gather");
}

void SelfCommunicator::all_gather(std::span<const std::uint16_t> local, std::span<const std::int64_t> counts,
                                  std::span<std::uint16_t> all) {
  copy_block(local, counts, all, "all_gather");
}

void SelfCommunicator::reduce_scatter_sum(std::span<const float> all, std::span<const std::int64_t> counts,
                                          std::span<float> local) {
  copy_block(all, counts, local, "reduce_scatter_sum");
}

void SelfCommunicator::reduce_scatter_sum(std::span<const double> all, std::span<const std::int64_t> counts,
                                          std::span<double> local) {
  copy_block(all, counts, local, "reduce_scatter_sum");
}

}  // namespace toller
