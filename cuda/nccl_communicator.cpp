#include "cuda/nccl_communicator.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <functional>

#include "comm/blocks.h"
#include "cuda/gpu_sharing.h"
#include "cuda/nccl_connection.h"
#include "error.h"

namespace toller {
namespace {

struct DestroyStream {
  void operator()(cudaStream_t stream) const { cudaStreamDestroy(stream); }
};
struct DestroyEvent {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using Stream = std::unique_ptr<std::remove_pointer_t<cudaStream_t>, DestroyStream>;
using Event = std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, DestroyEvent>;

ncclDataType_t type_of(Element element) {
  switch (element) {
    case Element::kFloat:
      return ncclFloat32;
    case Element::kDouble:
      return ncclFloat64;
    case Element::kBFloat16:
      break;
  }
  return ncclBfloat16;
}

void end_process(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
  std::_Exit(1);
}

bool all_equal(std::span<const std::int64_t> counts) {
  return std::ranges::adjacent_find(counts, std::not_equal_to<>()) == counts.end();
}

Communicator& with_a_gpu_each(Communicator& communicator) {
  const std::string shared = shared_gpu(communicator);
  if (!shared.empty()) {
    fail(
        "{}, and NCCL takes one rank a GPU: start as many ranks as there are GPUs, or use --communicator mpi",
        shared);
  }
  return communicator;
}

class NcclCommunicator final : public TensorCommunicator {
 public:
  NcclCommunicator(Communicator& communicator, cudaStream_t compute, NcclOptions options);
  ~NcclCommunicator() override;

  int rank() const override { return connection_.rank(); }
  int size() const override { return connection_.size(); }
  void finish_sums() override;

 private:
  void gather(const void* local, std::span<const std::int64_t> counts, void* all, Element element) override;
  void scatter_sum(void* all, std::span<const std::int64_t> counts, void* local, Element element) override;
  void reduce(void* data, std::int64_t n, Element element, bool maximum) override;
  void start_sum(void* data, std::int64_t n, Element element) override;
  void start_scatter_sum(void* all, std::span<const std::int64_t> counts, void* local,
                         Element element) override;

  /// Queues ncclResult_t enqueue(ncclComm_t) behind what is on the compute stream.
  template <class Enqueue>
  void start(const Operation& operation, Enqueue enqueue);
  /// What is queued on the compute stream from here on waits for everything that was started.
  void finish(const Operation& operation);
  /// One call a rank that brings or gets something: ncclResult_t enqueue(rank, its block of `all`).
  template <class Enqueue>
  ncclResult_t for_each_block(void* all, std::span<const std::int64_t> counts, Element element,
                              Enqueue enqueue);
  void report(const std::string& text);
  void check(cudaError_t error, const Operation& operation) const;

  const Nccl& nccl_;
  NcclOptions options_;
  cudaStream_t compute_;
  int exceptions_;  ///< on their way when this was made
  NcclConnection connection_;
  Stream stream_;
  Event ready_;     ///< of the compute stream, before a collective
  Event finished_;  ///< of the last collective
  bool sums_started_ = false;
  std::unique_ptr<OperationWatchdog> watchdog_;
};

NcclCommunicator::NcclCommunicator(Communicator& communicator, cudaStream_t compute, NcclOptions options)
    : nccl_(nccl()),
      options_(std::move(options)),
      compute_(compute),
      exceptions_(std::uncaught_exceptions()),
      connection_(with_a_gpu_each(communicator), options_.time_out) {
  const Operation making{"making the communicator", Operation::kNoElements};
  if (!options_.on_failure) options_.on_failure = end_process;
  // The collectives' few blocks are not to queue behind the thousands of a matrix product.
  int least = 0, greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), making);
  cudaStream_t stream = nullptr;
  check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest), making);
  stream_.reset(stream);
  for (Event* event : {&ready_, &finished_}) {
    cudaEvent_t made = nullptr;
    check(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), making);
    event->reset(made);
  }
  watchdog_ = std::make_unique<OperationWatchdog>(
      WatchdogOptions{options_.time_out, kNcclAdvice, [this] { return connection_.asynchronous_error(); },
                      [this](const std::string& text) { report(text); }});
}

NcclCommunicator::~NcclCommunicator() {
  const bool unwinding = std::uncaught_exceptions() > exceptions_;
  // The watchdog still ends what hangs.
  if (!unwinding) cudaStreamSynchronize(stream_.get());
  watchdog_->stop();
  if (unwinding) {
    connection_.abort("an error ended the run");
  } else {
    connection_.close();
  }
}

/// On the watchdog's thread.
void NcclCommunicator::report(const std::string& text) {
  const std::string line = fmt::format("{}: {}", connection_.who(), text);
  options_.on_failure(line);
  connection_.abort(line);
}

void NcclCommunicator::check(cudaError_t error, const Operation& operation) const {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // told, and so not the next call's
  fail("{}: {} failed: {} ({})", connection_.who(), to_text(operation), cudaGetErrorString(error),
       cudaGetErrorName(error));
}

template <class Enqueue>
void NcclCommunicator::start(const Operation& operation, Enqueue enqueue) {
  check(cudaEventRecord(ready_.get(), compute_), operation);
  check(cudaStreamWaitEvent(stream_.get(), ready_.get(), 0), operation);
  connection_.call(operation, enqueue);
  check(cudaEventRecord(finished_.get(), stream_.get()), operation);
  watchdog_->watch(operation, stream_.get());
}

void NcclCommunicator::finish(const Operation& operation) {
  check(cudaStreamWaitEvent(compute_, finished_.get(), 0), operation);
  sums_started_ = false;  // the collectives' stream works in order
}

template <class Enqueue>
ncclResult_t NcclCommunicator::for_each_block(void* all, std::span<const std::int64_t> counts,
                                              Element element, Enqueue enqueue) {
  ncclResult_t result = nccl_.group_start();
  if (result != ncclSuccess) return result;
  auto* block = static_cast<std::byte*>(all);
  for (int r = 0; r < size(); ++r) {
    const std::int64_t count = counts[static_cast<std::size_t>(r)];
    if (count == 0) continue;
    result = enqueue(r, block, static_cast<std::size_t>(count));
    if (result != ncclSuccess && result != ncclInProgress) break;
    block += count * element_size(element);
  }
  const ncclResult_t end = nccl_.group_end();
  return result == ncclSuccess || result == ncclInProgress ? end : result;
}

void NcclCommunicator::gather(const void* local, std::span<const std::int64_t> counts, void* all,
                              Element element) {
  const Operation operation{"all_gather", total_count(counts, size(), "all_gather")};
  if (operation.elements == 0) return;
  const ncclDataType_t type = type_of(element);
  start(operation, [&](ncclComm_t comm) {
    if (all_equal(counts)) {
      return nccl_.all_gather(local, all, static_cast<std::size_t>(counts[0]), type, comm, stream_.get());
    }
    return for_each_block(all, counts, element, [&](int root, void* block, std::size_t count) {
      const void* send = root == rank() ? local : block;
      return nccl_.broadcast(send, block, count, type, root, comm, stream_.get());
    });
  });
  finish(operation);
}

void NcclCommunicator::scatter_sum(void* all, std::span<const std::int64_t> counts, void* local,
                                   Element element) {
  start_scatter_sum(all, counts, local, element);
  finish_sums();
}

void NcclCommunicator::start_scatter_sum(void* all, std::span<const std::int64_t> counts, void* local,
                                         Element element) {
  const Operation operation{"reduce_scatter_sum", total_count(counts, size(), "reduce_scatter_sum")};
  if (operation.elements == 0) return;
  const ncclDataType_t type = type_of(element);
  start(operation, [&](ncclComm_t comm) {
    if (all_equal(counts)) {
      return nccl_.reduce_scatter(all, local, static_cast<std::size_t>(counts[0]), type, ncclSum, comm,
                                  stream_.get());
    }
    return for_each_block(all, counts, element, [&](int root, void* block, std::size_t count) {
      void* receive = root == rank() ? local : nullptr;
      return nccl_.reduce(block, receive, count, type, ncclSum, root, comm, stream_.get());
    });
  });
  sums_started_ = true;
}

void NcclCommunicator::reduce(void* data, std::int64_t n, Element element, bool maximum) {
  if (n == 0) return;
  const Operation operation{maximum ? "all_reduce_max" : "all_reduce_sum", n};
  start(operation, [&](ncclComm_t comm) {
    return nccl_.all_reduce(data, data, static_cast<std::size_t>(n), type_of(element),
                            maximum ? ncclMax : ncclSum, comm, stream_.get());
  });
  finish(operation);
}

void NcclCommunicator::start_sum(void* data, std::int64_t n, Element element) {
  if (n == 0) return;
  start({"all_reduce_sum", n}, [&](ncclComm_t comm) {
    return nccl_.all_reduce(data, data, static_cast<std::size_t>(n), type_of(element), ncclSum, comm,
                            stream_.get());
  });
  sums_started_ = true;
}

void NcclCommunicator::finish_sums() {
  if (sums_started_) finish({"finish_sums", Operation::kNoElements});
}

}  // namespace

std::unique_ptr<TensorCommunicator> make_nccl_communicator(Communicator& communicator, cudaStream_t compute,
                                                           NcclOptions options) {
  return std::make_unique<NcclCommunicator>(communicator, compute, std::move(options));
}

}  // namespace toller
