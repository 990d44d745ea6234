// The collectives of a step over a Communicator, for memory of the host. Everything is done at the call, and
// directly on the caller's memory.
#pragma once

#include <vector>

#include "comm/communicator.h"
#include "comm/tensor_communicator.h"

namespace toller {

class HostTensorCommunicator : public TensorCommunicator {
 public:
  /// `communicator` must outlive this object.
  explicit HostTensorCommunicator(Communicator& communicator) : communicator_(communicator) {}

  int rank() const override { return communicator_.rank(); }
  int size() const override { return communicator_.size(); }
  void finish_sums() override {}

 protected:
  void gather(const void* local, std::span<const std::int64_t> counts, void* all, Element element) override;
  void scatter_sum(void* all, std::span<const std::int64_t> counts, void* local, Element element) override;
  void reduce(void* data, std::int64_t n, Element element, bool maximum) override;
  void start_sum(void* data, std::int64_t n, Element element) override { reduce(data, n, element, false); }
  void start_scatter_sum(void* all, std::span<const std::int64_t> counts, void* local,
                         Element element) override {
    scatter_sum(all, counts, local, element);
  }

 private:
  template <class T>
  void max(std::span<T> data);

  Communicator& communicator_;
  std::vector<std::int64_t> bits_;  ///< of a maximum
};

}  // namespace toller
