// The checkpoints of a fusion, read in blocks of rows that the ranks share: memory for one block of each,
// whatever the size of their tensors. Blocks do not depend on the number of ranks, nor does any result.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fusion.h"
#include "comm/communicator.h"

namespace toller {

/// Where a block lies: elements [first, first + size) of a tensor, whole rows of length `row` (the last
/// dimension; a vector is one row).
struct BlockPlace {
  std::size_t tensor = 0;  ///< index in the table
  std::int64_t first = 0;
  std::int64_t size = 0;
  std::int64_t row = 0;
};

/// One block of every model.
struct FusionBlock {
  BlockPlace place;
  std::vector<std::vector<double>> values;  ///< θ_1 … θ_K
  std::vector<double> base;                 ///< θ_0; empty where there is no base

  std::size_t size() const { return static_cast<std::size_t>(place.size); }
  /// δ_k of an element.
  double delta(std::size_t k, std::size_t i) const { return values[k][i] - base[i]; }
};

class FusionSources {
 public:
  /// Opens the checkpoints and, unless its path is empty, the base. Error unless their encoder configs (but
  /// for dropout and initialisation) and their tokenizers agree and each rename applies to one of them. A
  /// block has `options.block_elements` elements or one row; 0: as many as suit the number of checkpoints.
  FusionSources(const std::vector<std::filesystem::path>& checkpoints, const std::filesystem::path& base,
                const FusionOptions& options, Communicator& communicator);

  /// Number of checkpoints, without the base.
  std::size_t size() const { return checkpoints_.size(); }
  const std::vector<CheckpointReader>& checkpoints() const { return checkpoints_; }
  /// The base, if there is one.
  const std::vector<CheckpointReader>& base() const { return base_; }
  const ParameterTable& table() const { return checkpoints_.front().table(); }
  Communicator& communicator() const { return communicator_; }

  /// All blocks of all tensors, in the order of the table.
  const std::vector<BlockPlace>& blocks() const { return blocks_; }
  FusionBlock read(const BlockPlace& place) const;

  /// Every checksum and value of every model, the tensors shared by the ranks. Blocks are read unverified.
  void verify() const;
  /// Collective: `visit` gets this rank's share of the blocks with an index in [first, last).
  void visit_share(std::size_t first, std::size_t last,
                   const std::function<void(const FusionBlock&, std::size_t)>& visit) const;
  /// Collective: sums over each tensor, [tensor][term]; `add` adds those of a block to `sums` [terms]. The
  /// same bits for any number of ranks.
  std::vector<std::vector<double>> sum_by_tensor(
      std::size_t terms, const std::function<void(const FusionBlock&, std::span<double>)>& add) const;

 private:
  void check_renames(const std::vector<TensorRename>& renames) const;

  Communicator& communicator_;
  std::vector<CheckpointReader> checkpoints_;
  std::vector<CheckpointReader> base_;  ///< one or none
  std::vector<BlockPlace> blocks_;
};

}  // namespace toller
