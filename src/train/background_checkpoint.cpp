#include "train/background_checkpoint.h"

#include <utility>

#include "error.h"

namespace toller {

template <class T>
BackgroundCheckpoint<T>::~BackgroundCheckpoint() {
  if (thread_.joinable()) thread_.join();
}

template <class T>
void BackgroundCheckpoint<T>::start(std::unique_ptr<CheckpointOutput<T>> output, CheckpointShare<T> share,
                                    bool verifies) {
  if (is_in_flight()) fail("a checkpoint begins while another one is being written");
  output_ = std::move(output);
  share_ = std::move(share);
  written_ = false;
  failure_ = nullptr;
  thread_ = std::thread([this, verifies] {
    try {
      output_->write(share_);
      if (verifies) output_->verify();
    } catch (const Error&) {
      // commit() throws it, on all ranks
    } catch (...) {
      failure_ = std::current_exception();
    }
    written_ = true;
  });
}

template <class T>
void BackgroundCheckpoint<T>::commit() {
  thread_.join();
  share_ = {};
  const std::unique_ptr<CheckpointOutput<T>> output = std::move(output_);
  if (failure_) std::rethrow_exception(failure_);
  output->commit();
}

template class BackgroundCheckpoint<float>;
template class BackgroundCheckpoint<double>;

}  // namespace toller
