#include "train/parameter_update.h"

#include <type_traits>

#include "error.h"

namespace toller {
namespace {

/// What AdamW updates on this rank, in its order: all tensors, or the pieces of the shard.
std::vector<DecaySlice> decay_slices(const ParameterTable& table, const ParameterShards& shards, bool sharded,
                                     int rank) {
  std::vector<DecaySlice> slices;
  if (sharded) {
    for (const TensorPiece& piece : shards.tensor_pieces(rank)) {
      slices.push_back({piece.place, piece.size, table.tensors()[piece.tensor].decay});
    }
  } else {
    for (const TensorView& tensor : table.tensors()) {
      slices.push_back({tensor.offset, tensor.size, tensor.decay});
    }
  }
  return slices;
}

}  // namespace

template <class T>
ParameterUpdate<T>::ParameterUpdate(const ParameterTable& table, const ParameterShards& shards, bool sharded,
                                    const AdamWOptions& options, Ops<T>& ops,
                                    TensorCommunicator& communicator)
    : table_(table),
      shards_(shards),
      sharded_(sharded),
      ops_(ops),
      communicator_(communicator),
      adamw_(ops, decay_slices(table, shards, sharded, communicator.rank()), options),
      own_parameters_(ops, sharded ? shards.elements(communicator.rank()) : 0),
      own_gradient_(ops, own_parameters_.size()),
      sums_(sharded ? GradientSums<T>(shards, communicator, own_gradient_.data())
                    : GradientSums<T>(shards.bounds(), communicator)) {}

template <class T>
void ParameterUpdate<T>::start(std::span<const Real> parameters, std::span<const Real> m,
                               std::span<const Real> v) {
  if (sharded_) own_parameters_.write(own_of(parameters));
  if (m.empty()) return;
  if (sharded_) {
    adamw_.m().write(own_of(m));
    adamw_.v().write(own_of(v));
  } else {
    adamw_.m().write(m);
    adamw_.v().write(v);
  }
}

template <class T>
std::vector<RealOf<T>> ParameterUpdate<T>::own_of(std::span<const Real> flat) const {
  std::vector<Real> own;
  for (const ParameterPiece& piece : shards_.pieces(communicator_.rank())) {
    const auto part =
        flat.subspan(static_cast<std::size_t>(piece.offset), static_cast<std::size_t>(piece.size));
    own.insert(own.end(), part.begin(), part.end());
  }
  return own;
}

template <class T>
void ParameterUpdate<T>::clamp_log_temperature(double low, double high) {
  clamps_ = true;
  low_ = low;
  high_ = high;
}

template <class T>
void ParameterUpdate<T>::update(std::int64_t step, double learning_rate, const Real* gradients,
                                Real* parameters, T* copy) {
  if (sharded_) return update_shard(step, learning_rate, parameters, copy);
  adamw_.update(step, learning_rate, gradients, parameters, copy);
  if (clamps_) ops_.clamp_scalar(parameters + table_.size() - 1, low_, high_);
}

template <class T>
void ParameterUpdate<T>::update_shard(std::int64_t step, double learning_rate, Real* parameters, T* copy) {
  const int rank = communicator_.rank();
  adamw_.measure(own_gradient_.data());
  communicator_.all_reduce_sum(adamw_.squared_norm(), 1);
  adamw_.apply(step, learning_rate, own_gradient_.data(), own_parameters_.data(), nullptr);
  const bool has_last = rank + 1 == communicator_.size();
  if (clamps_ && has_last) {
    ops_.clamp_scalar(own_parameters_.data() + own_parameters_.size() - 1, low_, high_);
  }
  for (std::size_t bucket = 0; bucket + 1 < shards_.bounds().size(); ++bucket) {
    const ParameterPiece& piece = shards_.pieces(rank)[bucket];
    communicator_.all_gather(static_cast<const Real*>(own_parameters_.data() + piece.place),
                             shards_.counts(bucket), parameters + shards_.bounds()[bucket]);
  }
  if constexpr (!std::is_same_v<T, Real>) ops_.convert(table_.size(), parameters, copy);
}

template <class T>
std::vector<std::size_t> ParameterUpdate<T>::tensors_not_finite(std::int64_t step,
                                                                Communicator& communicator) const {
  std::vector<std::int64_t> found(table_.tensors().size(), 0);
  for (const std::size_t slice : adamw_.slices_not_finite(step)) {
    found[sharded_ ? shards_.tensor_pieces(communicator_.rank())[slice].tensor : slice] = 1;
  }
  communicator.all_reduce_max(found);
  std::vector<std::size_t> tensors;
  for (std::size_t tensor = 0; tensor < found.size(); ++tensor) {
    if (found[tensor] != 0) tensors.push_back(tensor);
  }
  return tensors;
}

template <class T>
void ParameterUpdate<T>::read_own(const Real* parameters, std::span<Real> own, std::span<Real> m,
                                  std::span<Real> v) {
  read_pieces(parameters, own);
  if (sharded_) {
    adamw_.m().read(m);
    adamw_.v().read(v);
  } else {
    read_pieces(adamw_.m().data(), m);
    read_pieces(adamw_.v().data(), v);
  }
}

template <class T>
void ParameterUpdate<T>::read_pieces(const Real* flat, std::span<Real> own) const {
  for (const ParameterPiece& piece : shards_.pieces(communicator_.rank())) {
    ops_.copy_to_host(own.data() + piece.place, flat + piece.offset,
                      static_cast<std::size_t>(piece.size) * sizeof(Real));
  }
}

template class ParameterUpdate<BFloat16>;
template class ParameterUpdate<float>;
template class ParameterUpdate<double>;

}  // namespace toller
