#include "comm/mpi_communicator.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "comm/blocks.h"
#include "error.h"

namespace toller {
namespace {

// All three are part of the order in which sums add: no setting may change them between two runs.
constexpr std::size_t short_total = std::size_t{1}
                                    << 15;           ///< elements over all ranks up to which all exchange all
constexpr std::size_t piece = std::size_t{1} << 17;  ///< most elements in one message of the ring
constexpr std::size_t longest_call = std::size_t{1}
                                     << 28;  ///< most elements in one call: MPI counts are ints

MPI_Datatype type_of(float) {
  return MPI_FLOAT;
}
MPI_Datatype type_of(double) {
  return MPI_DOUBLE;
}
MPI_Datatype type_of(std::uint16_t) {
  return MPI_UINT16_T;
}

/// Slice number `index` of the block that starts at `offset` and has `count` elements; empty past its end.
template <class T>
std::span<T> slice(std::span<T> all, std::size_t offset, std::size_t count, std::size_t index) {
  const std::size_t begin = std::min(index * piece, count);
  return all.subspan(offset + begin, std::min(piece, count - begin));
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm parent) {
  check(MPI_Comm_dup(parent, &comm_), "MPI_Comm_dup");
  check(MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
}

MpiCommunicator::~MpiCommunicator() {
  MPI_Comm_free(&comm_);
}

void MpiCommunicator::check(int code, const char* operation) const {
  if (code == MPI_SUCCESS) return;
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  fail("{} failed on rank {} of {}: {}", operation, rank_, size_,
       std::string_view(text.data(), static_cast<std::size_t>(length)));
}

template <class T>
void MpiCommunicator::sum_short(std::span<T> data) {
  const int count = static_cast<int>(data.size());
  std::vector<T> everyones(data.size() * static_cast<std::size_t>(size_));
  check(MPI_Allgather(data.data(), count, type_of(T{}), everyones.data(), count, type_of(T{}), comm_),
        "all_reduce_sum (MPI_Allgather)");
  std::copy_n(everyones.begin(), data.size(), data.begin());
  for (std::size_t r = 1; r < static_cast<std::size_t>(size_); ++r) {
    for (std::size_t i = 0; i < data.size(); ++i) data[i] += everyones[r * data.size() + i];
  }
}

template <class T>
void MpiCommunicator::sum(std::span<T> data) {
  if (size_ == 1 || data.empty()) return;
  const auto ranks = static_cast<std::size_t>(size_);
  if (data.size() * ranks <= short_total) return sum_short(data);
  while (!data.empty()) {
    const std::span<T> part = data.first(std::min(data.size(), longest_call));
    data = data.subspan(part.size());
    std::vector<std::int64_t> counts(ranks);
    std::vector<int> lengths(ranks), offsets(ranks);
    for (std::size_t r = 0; r < ranks; ++r) {
      const std::size_t begin = part.size() * r / ranks;
      counts[r] = static_cast<std::int64_t>(part.size() * (r + 1) / ranks - begin);
      lengths[r] = static_cast<int>(counts[r]);
      offsets[r] = static_cast<int>(begin);
    }
    const auto own = static_cast<std::size_t>(rank_);
    scatter_sum<T>(part, counts, part.subspan(static_cast<std::size_t>(offsets[own]), counts[own]));
    check(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, part.data(), lengths.data(), offsets.data(),
                         type_of(T{}), comm_),
          "all_reduce_sum (MPI_Allgatherv)");
  }
}

template <class T>
void MpiCommunicator::ring_step(std::span<const T> sent, std::span<T> received, const char* operation) {
  const int right = (rank_ + 1) % size_;
  const int left = (rank_ + size_ - 1) % size_;
  check(MPI_Sendrecv(sent.data(), static_cast<int>(sent.size()), type_of(T{}), right, 0, received.data(),
                     static_cast<int>(received.size()), type_of(T{}), left, 0, comm_, MPI_STATUS_IGNORE),
        operation);
}

/// Round the ring, slice by slice: the sum for rank b starts as rank b + 1's own part and comes by b + 2, b +
/// 3, … to b, each adding its part. `local` may be this rank's block of `all`: it is read last and written
/// after.
template <class T>
void MpiCommunicator::scatter_sum(std::span<const T> all, std::span<const std::int64_t> counts,
                                  std::span<T> local) {
  const auto ranks = static_cast<std::size_t>(size_);
  const auto own = static_cast<std::size_t>(rank_);
  if (size_ == 1) {
    std::copy(all.begin(), all.end(), local.begin());
    return;
  }
  std::vector<std::size_t> offsets(ranks, 0);
  std::partial_sum(counts.begin(), counts.end() - 1, offsets.begin() + 1);
  const auto longest = static_cast<std::size_t>(*std::max_element(counts.begin(), counts.end()));
  std::vector<T> incoming(std::min(piece, longest)), outgoing(incoming.size());
  for (std::size_t index = 0; index * piece < longest; ++index) {
    const auto part = [&](std::size_t block) {
      return slice(all, offsets[block], static_cast<std::size_t>(counts[block]), index);
    };
    std::span<const T> sent = part((own + ranks - 1) % ranks);
    for (std::size_t step = 0; step + 1 < ranks; ++step) {
      const std::size_t block = (own + 2 * ranks - 2 - step) % ranks;
      const std::span<const T> mine = part(block);
      const std::span<T> received = std::span(incoming).first(mine.size());
      ring_step(sent, received, "reduce_scatter_sum (MPI_Sendrecv)");
      T* target = block == own ? local.data() + index * piece : outgoing.data();
      for (std::size_t i = 0; i < mine.size(); ++i) target[i] = received[i] + mine[i];
      sent = {target, mine.size()};
    }
  }
}

template <class T>
void MpiCommunicator::gather(std::span<const T> local, std::span<const std::int64_t> counts,
                             std::span<T> all) {
  check_blocks(counts, rank_, size_, local.size(), all.size(), "all_gather");
  if (all.size() > static_cast<std::size_t>(std::numeric_limits<int>::max())) {
    fail("all_gather: {} elements in total are more than MPI can count ({}); use a smaller global batch",
         all.size(), std::numeric_limits<int>::max());
  }
  std::vector<int> lengths(counts.begin(), counts.end());
  std::vector<int> offsets(counts.size(), 0);
  std::partial_sum(lengths.begin(), lengths.end() - 1, offsets.begin() + 1);
  if (all.empty()) return;
  const auto own = static_cast<std::size_t>(rank_);
  const bool in_place = local.data() == all.data() + offsets[own];
  check(MPI_Allgatherv(in_place ? MPI_IN_PLACE : local.data(), lengths[own], type_of(T{}), all.data(),
                       lengths.data(), offsets.data(), type_of(T{}), comm_),
        "all_gather (MPI_Allgatherv)");
}

void MpiCommunicator::all_reduce_sum(std::span<float> data) {
  sum(data);
}

void MpiCommunicator::all_reduce_sum(std::span<double> data) {
  sum(data);
}

void MpiCommunicator::all_reduce_max(std::span<std::int64_t> data) {
  while (!data.empty()) {
    const auto part = data.first(std::min(data.size(), longest_call));
    check(
        MPI_Allreduce(MPI_IN_PLACE, part.data(), static_cast<int>(part.size()), MPI_INT64_T, MPI_MAX, comm_),
        "all_reduce_max (MPI_Allreduce)");
    data = data.subspan(part.size());
  }
}

void MpiCommunicator::all_gather(std::span<const float> local, std::span<const std::int64_t> counts,
                                 std::span<float> all) {
  gather(local, counts, all);
}

void MpiCommunicator::all_gather(std::span<const double> local, std::span<const std::int64_t> counts,
                                 std::span<double> all) {
  gather(local, counts, all);
}

void MpiCommunicator::all_gather(std::span<const std::uint16_t> local, std::span<const std::int64_t> counts,
                                 std::span<std::uint16_t> all) {
  gather(local, counts, all);
}

void MpiCommunicator::reduce_scatter_sum(std::span<const float> all, std::span<const std::int64_t> counts,
                                         std::span<float> local) {
  check_blocks(counts, rank_, size_, local.size(), all.size(), "reduce_scatter_sum");
  scatter_sum(all, counts, local);
}

void MpiCommunicator::reduce_scatter_sum(std::span<const double> all, std::span<const std::int64_t> counts,
                                         std::span<double> local) {
  check_blocks(counts, rank_, size_, local.size(), all.size(), "reduce_scatter_sum");
  scatter_sum(all, counts, local);
}

void MpiCommunicator::broadcast(std::span<std::uint8_t> data, int root) {
  while (!data.empty()) {
    const auto part = data.first(std::min(data.size(), longest_call));
    check(MPI_Bcast(part.data(), static_cast<int>(part.size()), MPI_UINT8_T, root, comm_),
          "broadcast (MPI_Bcast)");
    data = data.subspan(part.size());
  }
}

void MpiCommunicator::barrier() {
  check(MPI_Barrier(comm_), "barrier (MPI_Barrier)");
}

}  // namespace toller
