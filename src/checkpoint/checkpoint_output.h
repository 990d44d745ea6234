// A checkpoint that all ranks write together, while training goes on. HDF5 is needed before and after, on the
// main threads: it lays the files out and closes them. The values in between are written by any thread, by
// plain system calls, since HDF5 cannot be used by two threads, nor recover from a failed write.
//
//   one file   rank 0 lays it out, and every rank writes its rows of every tensor into it
//   per rank   every rank writes its rows into a file of its own, a part; the manifest, which lists the
//              parts, appears last
//
// Each run of rows that a rank writes has a checksum of its own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "comm/communicator.h"
#include "model/parameter_shards.h"
#include "model/parameters.h"

namespace toller {

class RawFile;

enum class CheckpointLayout { kOneFile, kFilePerRank };

/// "one" or "per-rank"; `what` is named if it is neither.
CheckpointLayout checkpoint_layout_from_name(const std::string& what, const std::string& name);

/// A rank's pieces of the flat buffers, one behind the other, as TensorPiece::place says:
/// ParameterShards::elements(rank) of each.
template <class T>
struct CheckpointShare {
  std::vector<T> parameters, m, v;
};

template <class T>
class CheckpointOutput {
 public:
  /// Collective. Makes the files under temporary names beside `path`, the checkpoint to be. Throws Error, on
  /// all ranks, if one of them cannot. `shards`: of `table` over the ranks there are. `with_moments`: m and v
  /// are written too. Table, shards and communicator must outlive this; only the constructor and commit()
  /// speak to other ranks.
  CheckpointOutput(const std::filesystem::path& path, const CheckpointMeta& meta, const ParameterTable& table,
                   const ParameterShards& shards, CheckpointLayout layout, Communicator& communicator,
                   bool with_moments = true);
  /// On the main thread. Without commit(), removes the temporary files; what was at `path` is as it was.
  ~CheckpointOutput();
  CheckpointOutput(const CheckpointOutput&) = delete;
  CheckpointOutput& operator=(const CheckpointOutput&) = delete;

  /// Writes this rank's share, finite values only, and waits until it is on disk. Any thread; not collective;
  /// neither HDF5 nor MPI. Throws Error naming the file, the data set and the reason; commit() then throws it
  /// on all ranks.
  void write(const CheckpointShare<T>& share) { write(share.parameters, share.m, share.v); }
  void write(std::span<const T> parameters, std::span<const T> m, std::span<const T> v);
  /// After write(), like write(): reads the share from the disk (where the system can be told to forget what
  /// it keeps in memory) and throws Error if it is not what was written.
  void verify();
  /// Collective, on the main thread, after write() of all ranks has returned or thrown: the checkpoint
  /// appears at `path`. If writing failed on a rank, throws its Error on all ranks.
  void commit();

 private:
  /// Some rows of a data set, which this rank writes.
  struct Region {
    std::string dataset;
    int kind = 0;  ///< 0: parameters, 1: m, 2: v
    TensorPiece piece;
    std::int64_t place = 0;  ///< in the file, in bytes
    std::uint64_t checksum = 0;
  };

  /// On rank 0: lays out the one file, or begins the manifest; returns the places of the data sets.
  std::vector<std::int64_t> make_main_file(const CheckpointMeta& meta, bool is_one);
  void add_regions(const std::vector<std::int64_t>& places);
  void make_part();
  /// `main_name`: of rank 0's temporary file, which all ranks must see.
  void open_share(const std::string& main_name);
  template <class Action>
  void note_failure(const Action& action);
  void write_region(Region& region, std::span<const T> values);
  void verify_region(const Region& region, std::span<std::byte> buffer);
  /// Collective: of the regions of all ranks, in the order of the ranks.
  std::vector<std::uint64_t> gather_checksums();
  /// The same for the same content.
  std::int64_t checkpoint_id(const std::vector<std::uint64_t>& checksums) const;
  /// Returns the part's size in bytes.
  std::int64_t commit_part(std::int64_t id);
  void list_parts_in_manifest(const std::vector<std::int64_t>& sizes, std::int64_t id);
  void set_checksums(const std::vector<std::uint64_t>& checksums);

  std::filesystem::path path_;
  const ParameterTable& table_;
  const ParameterShards& shards_;
  Communicator& communicator_;
  int kinds_;  ///< data sets of a tensor: 1, or 3 with moments
  std::int64_t step_;

  std::unique_ptr<Hdf5Writer> main_;  ///< of rank 0: the one file or the manifest
  std::unique_ptr<Hdf5Writer> part_;  ///< of a file per rank
  std::unique_ptr<RawFile> raw_;      ///< where the share goes
  std::filesystem::path target_;      ///< the name that this file will have
  std::vector<Region> regions_;
  bool is_written_ = false;
  bool is_part_published_ = false;
  bool is_committed_ = false;
  std::string failure_;  ///< of write() or verify()
};

}  // namespace toller
