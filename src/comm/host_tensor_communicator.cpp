#include "comm/host_tensor_communicator.h"

#include "comm/blocks.h"
#include "comm/ordered_bits.h"

namespace toller {
namespace {

template <class T, class Memory>
auto elements(Memory* memory, std::int64_t n) {
  using Qualified = std::conditional_t<std::is_const_v<Memory>, const T, T>;
  return std::span<Qualified>(static_cast<Qualified*>(memory), static_cast<std::size_t>(n));
}

}  // namespace

void HostTensorCommunicator::gather(const void* local, std::span<const std::int64_t> counts, void* all,
                                    Element element) {
  const std::int64_t total = total_count(counts, size(), "all_gather");
  const std::int64_t own = counts[static_cast<std::size_t>(rank())];
  switch (element) {
    case Element::kFloat:
      return communicator_.all_gather(elements<float>(local, own), counts, elements<float>(all, total));
    case Element::kDouble:
      return communicator_.all_gather(elements<double>(local, own), counts, elements<double>(all, total));
    case Element::kBFloat16:
      return communicator_.all_gather(elements<std::uint16_t>(local, own), counts,
                                      elements<std::uint16_t>(all, total));
  }
}

void HostTensorCommunicator::scatter_sum(void* all, std::span<const std::int64_t> counts, void* local,
                                         Element element) {
  const void* terms = all;
  const std::int64_t total = total_count(counts, size(), "reduce_scatter_sum");
  const std::int64_t own = counts[static_cast<std::size_t>(rank())];
  if (element == Element::kDouble) {
    communicator_.reduce_scatter_sum(elements<double>(terms, total), counts, elements<double>(local, own));
  } else {
    communicator_.reduce_scatter_sum(elements<float>(terms, total), counts, elements<float>(local, own));
  }
}

void HostTensorCommunicator::reduce(void* data, std::int64_t n, Element element, bool maximum) {
  const auto over_ranks = [&](auto values) {
    if (maximum) {
      max(values);
    } else {
      communicator_.all_reduce_sum(values);
    }
  };
  if (element == Element::kDouble) {
    over_ranks(elements<double>(data, n));
  } else {
    over_ranks(elements<float>(data, n));
  }
}

template <class T>
void HostTensorCommunicator::max(std::span<T> data) {
  if (size() == 1) return;
  bits_.resize(data.size());
  for (std::size_t i = 0; i < data.size(); ++i) bits_[i] = ordered_bits(static_cast<double>(data[i]));
  communicator_.all_reduce_max(bits_);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<T>(from_ordered_bits(bits_[i]));
}

}  // namespace toller
