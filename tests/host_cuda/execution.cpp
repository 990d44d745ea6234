#include "host_cuda/execution.h"

#include <sys/mman.h>
#include <unistd.h>

#include <fmt/format.h>

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <cstdint>
#include <cstring>
#include <deque>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

#include "host_cuda/runtime_api.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace host_cuda {

constinit thread_local ThreadIndices* current = nullptr;

namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr std::size_t kSharedAlignment = 128;

/// Thrown through a waiting thread whose block has failed.
struct Abandoned {};

enum class State { kReady, kAtBarrier, kInWarp, kFinished };

class Worker;

struct Thread : ThreadIndices {
  State state = State::kReady;
  Worker* worker = nullptr;  ///< null until the thread has begun
  // what it waits at
  const char* operation = nullptr;
  std::source_location where;
  unsigned mask = 0;        ///< of a warp operation
  void* payload = nullptr;  ///< of a warp operation
  int predicate = 0;        ///< of a barrier
  int votes = 0;            ///< result of a barrier
};

/// The running block.
struct Block {
  const char* kernel = nullptr;
  void (*call)(void*) = nullptr;
  void* closure = nullptr;
  std::vector<Thread> threads;
  std::size_t begun = 0;  ///< threads that have begun, in the thread order
  std::size_t finished = 0;
  std::size_t at_barrier = 0;
  std::deque<Thread*> ready;  ///< may go on
  std::exception_ptr error;
  bool abandoned = false;
  unsigned char* shared = nullptr;
};

thread_local Block* running = nullptr;
thread_local ThreadOrder thread_order = ThreadOrder::kAscending;

std::string index_text(const uint3& index) {
  return fmt::format("({}, {}, {})", index.x, index.y, index.z);
}

std::string place_text(const std::source_location& where) {
  return fmt::format("{}:{}", where.file_name(), where.line());
}

Thread* next_unbegun(Block& block) {
  if (block.begun == block.threads.size()) return nullptr;
  const std::size_t number = block.begun++;
  return &block.threads[thread_order == ThreadOrder::kAscending ? number : block.threads.size() - 1 - number];
}

/// A fiber that runs threads of blocks, one after the other as long as they do not wait.
class Worker {
 public:
  Worker() : memory_(boost::context::protected_fixedsize_stack(kStackBytes).allocate()) {
    const auto body = [this](boost::context::fiber&& scheduler) {
      arrive();
      scheduler_ = std::move(scheduler);
      while (!stop_) {
        run_threads();
        give_way();
      }
      depart(nullptr);
      return std::move(scheduler_);
    };
    fiber_ = boost::context::fiber(std::allocator_arg,
                                   boost::context::preallocated(memory_.sp, memory_.size, memory_),
                                   Borrowed{}, body);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker() {
    stop_ = true;
    enter();
    boost::context::protected_fixedsize_stack(kStackBytes).deallocate(memory_);
  }

  /// From the scheduler into the fiber, until it gives way.
  void enter() {
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, static_cast<char*>(memory_.sp) - memory_.size, memory_.size);
#endif
    fiber_ = std::move(fiber_).resume();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
  }

  /// From the fiber back to the scheduler, until the next enter().
  void give_way() {
    depart(&fake_stack_);
    scheduler_ = std::move(scheduler_).resume();
    arrive();
  }

 private:
  /// The stack outlives the fiber: it is the worker's.
  struct Borrowed {
    void deallocate(boost::context::stack_context&) {}
  };

  // The address sanitizer is told of every switch.
  void arrive() {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake_stack_, &scheduler_stack_, &scheduler_stack_size_);
#endif
  }
  void depart([[maybe_unused]] void** fake_stack) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(fake_stack, scheduler_stack_, scheduler_stack_size_);
#endif
  }

  void run_threads();

  boost::context::stack_context memory_;
  boost::context::fiber fiber_, scheduler_;
  bool stop_ = false;
  void* fake_stack_ = nullptr;
  const void* scheduler_stack_ = nullptr;
  std::size_t scheduler_stack_size_ = 0;
};

/// Workers are kept for the next block and the next launch.
struct Pool {
  std::vector<std::unique_ptr<Worker>> all;
  std::vector<Worker*> idle;
  Worker* take() {
    if (idle.empty()) {
      all.push_back(std::make_unique<Worker>());
      return all.back().get();
    }
    Worker* worker = idle.back();
    idle.pop_back();
    return worker;
  }
};
thread_local Pool pool;

void Worker::run_threads() {
  Block& block = *running;
  while (!block.error && block.ready.empty()) {
    Thread* thread = next_unbegun(block);
    if (thread == nullptr) break;
    thread->worker = this;
    current = thread;
    try {
      block.call(block.closure);
    } catch (const Abandoned&) {
    } catch (...) {
      if (!block.error) block.error = std::current_exception();
    }
    thread->state = State::kFinished;
    ++block.finished;
  }
  pool.idle.push_back(this);
}

void wait(Thread& thread) {
  thread.worker->give_way();
  if (running->abandoned) throw Abandoned{};
}

void release(Thread& thread) {
  thread.state = State::kReady;
  if (&thread != current) running->ready.push_back(&thread);
}

std::string doing_text(const Thread& thread) {
  if (thread.state == State::kFinished) return "has left the kernel";
  const std::string mask =
      thread.state == State::kInWarp ? fmt::format(" with mask {:08x}", thread.mask) : "";
  return fmt::format("waits at {}{} ({})", thread.operation, mask, place_text(thread.where));
}

/// Who does what where no thread of the block can go on.
std::string parted_text(const Block& block) {
  std::vector<std::pair<std::string, std::string>> groups;  // what, and the first thread that does it
  for (const Thread& thread : block.threads) {
    const std::string doing = doing_text(thread);
    bool known = false;
    for (const auto& group : groups) known = known || group.first == doing;
    if (!known) groups.emplace_back(doing, index_text(thread.thread));
  }
  std::string text = fmt::format("kernel {}, block {}: no thread can go on:", block.kernel,
                                 index_text(block.threads.front().block));
  for (std::size_t i = 0; i < groups.size() && i < 4; ++i) {
    text += fmt::format("{} thread {} {}", i == 0 ? "" : ";", groups[i].second, groups[i].first);
  }
  return text;
}

void abandon(Block& block) {
  block.abandoned = true;
  for (Thread& thread : block.threads) {
    if (thread.worker == nullptr || thread.state == State::kFinished) continue;
    current = &thread;
    thread.worker->enter();
  }
}

Thread* next_ready(Block& block) {
  const bool oldest = thread_order == ThreadOrder::kAscending;
  Thread* thread = oldest ? block.ready.front() : block.ready.back();
  oldest ? block.ready.pop_front() : block.ready.pop_back();
  return thread;
}

void run_block(Block& block) {
  running = &block;
  while (block.finished < block.threads.size() && !block.error) {
    if (!block.ready.empty()) {
      Thread* thread = next_ready(block);
      current = thread;
      thread->worker->enter();
    } else if (block.begun < block.threads.size()) {
      pool.take()->enter();
    } else {
      block.error = std::make_exception_ptr(Error(parted_text(block)));
    }
  }
  if (block.error) abandon(block);
  current = nullptr;
  running = nullptr;
}

/// Dynamic shared memory with a guard page behind its end.
class SharedMemory {
 public:
  static constexpr std::size_t kCapacity = 256 << 10;
  SharedMemory() {
    void* memory =
        mmap(nullptr, kCapacity + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    begin_ = static_cast<unsigned char*>(memory);
    mprotect(begin_ + kCapacity, kPage, PROT_NONE);
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { munmap(begin_, kCapacity + kPage); }

  unsigned char* fresh(std::size_t bytes) {
    used_ = bytes;
    unsigned char* start = begin_ + kCapacity - rounded();
    std::memset(start, 0xFF, rounded());
    return start;
  }
  /// Nothing was written between the end and the guard page.
  bool intact() const {
    for (const unsigned char* p = begin_ + kCapacity - rounded() + used_; p < begin_ + kCapacity; ++p) {
      if (*p != 0xFF) return false;
    }
    return true;
  }

 private:
  static constexpr std::size_t kPage = 4096;
  std::size_t rounded() const { return (used_ + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment; }
  unsigned char* begin_ = nullptr;
  std::size_t used_ = 0;
};

void reset(Block& block, const uint3& index, dim3 grid, dim3 size) {
  block.threads.resize(std::size_t{size.x} * size.y * size.z);
  block.begun = block.finished = block.at_barrier = 0;
  block.ready.clear();
  unsigned rank = 0;
  for (unsigned z = 0; z < size.z; ++z) {
    for (unsigned y = 0; y < size.y; ++y) {
      for (unsigned x = 0; x < size.x; ++x, ++rank) {
        Thread& thread = block.threads[rank];
        thread.thread = {x, y, z};
        thread.block = index;
        thread.block_size = size;
        thread.grid_size = grid;
        thread.rank = rank;
        thread.state = State::kReady;
        thread.worker = nullptr;
      }
    }
  }
}

cudaError_t check_launch(const void* function, dim3 grid, dim3 block, std::size_t shared_bytes) {
  const std::size_t threads = std::size_t{block.x} * block.y * block.z;
  const std::size_t blocks = std::size_t{grid.x} * grid.y * grid.z;
  if (threads == 0 || threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64 || blocks == 0 ||
      grid.x > 0x7FFFFFFF || grid.y > 0xFFFF || grid.z > 0xFFFF) {
    return cudaErrorInvalidConfiguration;
  }
  return shared_bytes > dynamic_shared_limit(function) ? cudaErrorInvalidValue : cudaSuccess;
}

}  // namespace

void set_thread_order(ThreadOrder order) {
  thread_order = order;
}

void* dynamic_shared_memory() {
  return running->shared;
}

std::string running_thread() {
  if (running == nullptr || current == nullptr) return "host code";
  return fmt::format("kernel {}, block {}, thread {}", running->kernel, index_text(current->block),
                     index_text(current->thread));
}

void fail_in_kernel(const std::string& what, const std::source_location& where) {
  throw Error(fmt::format("{}: {} ({})", running_thread(), what, place_text(where)));
}

int block_barrier(int predicate, const char* operation, const std::source_location& where) {
  Block& block = *running;
  Thread& self = static_cast<Thread&>(*current);
  self.state = State::kAtBarrier;
  self.operation = operation;
  self.where = where;
  self.predicate = predicate != 0;
  if (++block.at_barrier < block.threads.size()) {
    wait(self);
    return self.votes;
  }
  block.at_barrier = 0;
  int votes = 0;
  for (const Thread& thread : block.threads) {
    votes += thread.predicate;
    if (thread.where.line() != where.line() ||
        std::strcmp(thread.where.file_name(), where.file_name()) != 0 ||
        std::strcmp(thread.operation, operation) != 0) {
      fail_in_kernel(
          std::string(operation) + " while thread " + index_text(thread.thread) + " " + doing_text(thread),
          where);
    }
  }
  for (Thread& thread : block.threads) {
    thread.votes = votes;
    release(thread);
  }
  return votes;
}

void warp_collective(unsigned mask, void* payload, Complete complete, const char* operation,
                     const std::source_location& where) {
  Block& block = *running;
  Thread& self = static_cast<Thread&>(*current);
  const std::size_t first = self.rank / 32 * 32;
  if (!(mask >> self.rank % 32 & 1)) {
    fail_in_kernel(fmt::format("{}: this lane is not in its own mask", operation), where);
  }
  self.state = State::kInWarp;
  self.operation = operation;
  self.where = where;
  self.mask = mask;
  self.payload = payload;
  void* payloads[32] = {};
  // Lanes mostly come in the thread order: the check begins where the last to come is.
  for (unsigned i = 0; i < 32; ++i) {
    const unsigned lane = thread_order == ThreadOrder::kAscending ? 31 - i : i;
    if (!(mask >> lane & 1)) continue;
    if (first + lane >= block.threads.size()) {
      fail_in_kernel(
          fmt::format("{}: the mask names lane {}, which the block does not have", operation, lane), where);
    }
    Thread& other = block.threads[first + lane];
    if (other.state != State::kInWarp || other.mask != mask || std::strcmp(other.operation, operation) != 0) {
      wait(self);
      return;
    }
    payloads[lane] = other.payload;
  }
  complete(payloads, mask);
  for (unsigned lane = 0; lane < 32; ++lane) {
    if (mask >> lane & 1) release(block.threads[first + lane]);
  }
}

void run_grid(const char* kernel, const void* function, dim3 grid, dim3 size, std::size_t shared_bytes,
              void (*call)(void*), void* closure) {
  const cudaError_t error = check_launch(function, grid, size, shared_bytes);
  if (error != cudaSuccess) {
    set_last_error(error);
    return;
  }
  thread_local SharedMemory shared;
  Block block;
  block.kernel = kernel;
  block.call = call;
  block.closure = closure;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        reset(block, {x, y, z}, grid, size);
        block.shared = shared.fresh(shared_bytes);
        run_block(block);
        if (block.error) std::rethrow_exception(block.error);
        if (!shared.intact()) {
          throw Error(fmt::format("kernel {}, block {}: a write behind the end of dynamic shared memory",
                                  kernel, index_text({x, y, z})));
        }
      }
    }
  }
  check_guards(kernel);
}

}  // namespace host_cuda
