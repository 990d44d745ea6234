#include "checkpoint/fusion_sources.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "error.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

/// Elements that are in memory at once, of all models together.
constexpr std::int64_t kElementsAtOnce = std::int64_t{1} << 20;
/// Fewer would make reading slow.
constexpr std::int64_t kLeastBlock = std::int64_t{1} << 14;

/// Fields of the encoder config that do not change what the model computes.
constexpr std::array kFreeFields = {"hidden_dropout", "attention_dropout", "initializer_range"};

/// Throws Error unless both hold the same kind of model.
void check_same_model(const CheckpointReader& first, const CheckpointReader& other) {
  const std::string a = first.path().string(), b = other.path().string();
  const nlohmann::json left = to_json(first.meta().encoder), right = to_json(other.meta().encoder);
  for (const auto& [field, value] : left.items()) {
    if (std::ranges::find(kFreeFields, field) != kFreeFields.end()) continue;
    if (right.at(field) != value) {
      fail("cannot fuse {} with {}: encoder config, field {}: {} and {}", a, b, field, value.dump(),
           right.at(field).dump());
    }
  }
  if (!is_same_tokenizer(first.meta().tokenizer, other.meta().tokenizer)) {
    fail("cannot fuse {} with {}: their tokenizers differ", a, b);
  }
  const std::string difference = prompt_difference(first.meta().form, other.meta().form);
  if (!difference.empty()) fail("cannot fuse {} with {}: their prompts differ: {}", a, b, difference);
}

std::vector<BlockPlace> make_blocks(const ParameterTable& table, std::int64_t most) {
  std::vector<BlockPlace> blocks;
  for (std::size_t t = 0; t < table.tensors().size(); ++t) {
    const TensorView& tensor = table.tensors()[t];
    const std::int64_t row = tensor.shape.back();
    const std::int64_t step = std::max<std::int64_t>(1, most / row) * row;
    for (std::int64_t first = 0; first < tensor.size; first += step) {
      blocks.push_back({t, first, std::min(step, tensor.size - first), row});
    }
  }
  return blocks;
}

}  // namespace

FusionSources::FusionSources(const std::vector<std::filesystem::path>& checkpoints,
                             const std::filesystem::path& base, const FusionOptions& options,
                             Communicator& communicator)
    : communicator_(communicator) {
  for (const auto& path : checkpoints) {
    checkpoints_.emplace_back(path, options.renames);
    check_same_model(checkpoints_.front(), checkpoints_.back());
  }
  if (!base.empty()) {
    base_.emplace_back(base, options.renames);
    check_same_model(checkpoints_.front(), base_.front());
  }
  check_renames(options.renames);
  const auto models = static_cast<std::int64_t>(checkpoints_.size() + base_.size());
  const std::int64_t most = options.block_elements;
  blocks_ = make_blocks(table(), most > 0 ? most : std::max(kLeastBlock, kElementsAtOnce / models));
}

void FusionSources::check_renames(const std::vector<TensorRename>& renames) const {
  for (std::size_t index = 0; index < renames.size(); ++index) {
    const auto applies = [&](const CheckpointReader& reader) { return reader.applies(index); };
    if (std::ranges::any_of(checkpoints_, applies) || std::ranges::any_of(base_, applies)) continue;
    fail_usage("--map {}={}: no checkpoint has such a tensor beside those of the model", renames[index].from,
               renames[index].to);
  }
}

FusionBlock FusionSources::read(const BlockPlace& place) const {
  const TensorView& tensor = table().tensors()[place.tensor];
  const auto read_from = [&](const CheckpointReader& reader) {
    std::vector<double> values(static_cast<std::size_t>(place.size));
    reader.read_rows(tensor, place.first, std::span(values));
    return values;
  };
  FusionBlock block{.place = place, .values = {}, .base = {}};
  for (const CheckpointReader& reader : checkpoints_) block.values.push_back(read_from(reader));
  if (!base_.empty()) block.base = read_from(base_.front());
  return block;
}

void FusionSources::verify() const {
  std::int64_t turn = 0;
  for (const std::vector<CheckpointReader>* readers : {&checkpoints_, &base_}) {
    for (const CheckpointReader& reader : *readers) {
      for (const TensorView& tensor : table().tensors()) {
        if (turn++ % communicator_.size() == communicator_.rank()) reader.verify_tensor(tensor);
      }
    }
  }
}

void FusionSources::visit_share(std::size_t first, std::size_t last,
                                const std::function<void(const FusionBlock&, std::size_t)>& visit) const {
  const auto ranks = static_cast<std::size_t>(communicator_.size());
  for (std::size_t b = first + static_cast<std::size_t>(communicator_.rank()); b < last; b += ranks) {
    visit(read(blocks_[b]), b);
  }
}

std::vector<std::vector<double>> FusionSources::sum_by_tensor(
    std::size_t terms, const std::function<void(const FusionBlock&, std::span<double>)>& add) const {
  // A block's sums are one rank's; to add the others' zeros changes nothing.
  std::vector<double> parts(blocks_.size() * terms);
  visit_share(0, blocks_.size(), [&](const FusionBlock& block, std::size_t index) {
    add(block, std::span(parts).subspan(index * terms, terms));
  });
  communicator_.all_reduce_sum(std::span(parts));
  std::vector<std::vector<double>> sums(table().tensors().size(), std::vector<double>(terms));
  for (std::size_t b = 0; b < blocks_.size(); ++b) {
    for (std::size_t term = 0; term < terms; ++term) {
      sums[blocks_[b].tensor][term] += parts[b * terms + term];
    }
  }
  return sums;
}

}  // namespace toller
