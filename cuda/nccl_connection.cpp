#include "cuda/nccl_connection.h"

#include <array>
#include <cstring>
#include <thread>

#include "error.h"

namespace toller {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kPause{100};      ///< between two looks at a call in progress
constexpr std::chrono::seconds kClosingPatience{30};  ///< for the other ranks' end
constexpr std::chrono::seconds kAbortPatience{10};    ///< for a call that keeps NCCL busy

/// Rank 0's, on every rank.
ncclUniqueId common_id(Communicator& communicator, const Nccl& nccl) {
  ncclUniqueId id{};
  if (communicator.rank() == 0) {
    const ncclResult_t result = nccl.get_unique_id(&id);
    if (result != ncclSuccess) fail("ncclGetUniqueId failed on rank 0: {}", nccl.error_text(result));
  }
  std::array<std::uint8_t, sizeof id> bytes;
  std::memcpy(bytes.data(), &id, sizeof id);
  communicator.broadcast(bytes, 0);
  std::memcpy(&id, bytes.data(), sizeof id);
  return id;
}

}  // namespace

NcclConnection::NcclConnection(Communicator& communicator, std::chrono::milliseconds time_out)
    : nccl_(nccl()), rank_(communicator.rank()), size_(communicator.size()), time_out_(time_out) {
  try {
    connect(communicator);
  } catch (...) {
    abort("the ranks are not connected");
    throw;
  }
}

NcclConnection::~NcclConnection() {
  abort("the connection is closed");
}

std::string NcclConnection::who() const {
  return fmt::format("rank {} of {}", rank_, size_);
}

void NcclConnection::connect(Communicator& communicator) {
  const ncclUniqueId id = common_id(communicator, nccl_);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  settle({"connecting the ranks", Operation::kNoElements},
         locked([&](ncclComm_t) { return nccl_.init_rank(&comm_, size_, id, rank_, &config); }));
}

void NcclConnection::throw_if_aborted() const {
  if (!aborted_.empty()) throw Error(aborted_);
}

void NcclConnection::settle(const Operation& operation, ncclResult_t result) {
  const Clock::time_point begin = Clock::now();
  while (result == ncclInProgress) {
    if (Clock::now() - begin > time_out_) {
      fail("{}: {}", who(), late_text(operation, time_out_, kNcclAdvice));
    }
    std::this_thread::sleep_for(kPause);
    result = locked([&](ncclComm_t) { return state(); });
  }
  if (result != ncclSuccess) fail("{}: {} failed: {}", who(), to_text(operation), text_of(result));
}

/// Of the last call, or the error that came up since.
ncclResult_t NcclConnection::state() {
  ncclResult_t result = ncclSuccess;
  const ncclResult_t asked = nccl_.get_asynchronous_error(comm_, &result);
  return asked == ncclSuccess ? result : asked;
}

std::string NcclConnection::text_of(ncclResult_t result) {
  const std::lock_guard lock(mutex_);
  const char* detail = nccl_.last_error(comm_);
  const char* kind = nccl_.error_text(result);
  return detail != nullptr && *detail != '\0' ? fmt::format("{} ({})", kind, detail) : kind;
}

std::string NcclConnection::asynchronous_error() {
  std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock || comm_ == nullptr) return {};
  const ncclResult_t result = state();
  lock.unlock();
  return result == ncclSuccess || result == ncclInProgress ? std::string() : text_of(result);
}

void NcclConnection::abort(const std::string& reason) {
  std::unique_lock lock(mutex_, std::try_to_lock);
  for (const auto begin = Clock::now(); !lock && Clock::now() - begin < kAbortPatience; lock.try_lock())
    std::this_thread::sleep_for(kPause);
  if (!lock) return;
  if (aborted_.empty()) aborted_ = reason;
  if (comm_ != nullptr) nccl_.abort(comm_);
  comm_ = nullptr;
}

void NcclConnection::close() {
  const std::lock_guard lock(mutex_);
  if (comm_ == nullptr) return;
  ncclResult_t result = nccl_.finalize(comm_);
  const auto begin = Clock::now();
  while (result == ncclInProgress && Clock::now() - begin < kClosingPatience) {
    std::this_thread::sleep_for(kPause);
    result = state();
  }
  result == ncclSuccess ? nccl_.destroy(comm_) : nccl_.abort(comm_);
  comm_ = nullptr;
  aborted_ = "the connection is closed";
}

}  // namespace toller
