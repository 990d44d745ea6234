#include "eval/embedder.h"

#include <algorithm>
#include <vector>

#include "data/packed_batch.h"
#include "error.h"
#include "model/encoder.h"

namespace toller {
namespace {

/// Tokens a pack: the activations of a layer stay in the caches.
constexpr std::int64_t kPackTokens = 2048;

std::vector<float> read_all(const CheckpointReader& model) {
  std::vector<float> parameters(static_cast<std::size_t>(model.table().size()));
  model.read_parameters(std::span<float>(parameters));
  return parameters;
}

/// First row of every rank's slice (and the end): about equal numbers of tokens.
std::vector<std::int64_t> token_balanced_slices(const TokenTable& table, int ranks) {
  std::vector<std::int64_t> first{0};
  for (int rank = 1; rank < ranks; ++rank) {
    const std::int64_t tokens = table.offsets.back() * rank / ranks;
    const auto found = std::lower_bound(table.offsets.begin(), table.offsets.end(), tokens);
    first.push_back(std::min<std::int64_t>(found - table.offsets.begin(), table.rows()));
  }
  first.push_back(table.rows());
  return first;
}

}  // namespace

struct Embedder::Impl {
  Impl(const EncoderConfig& encoder_config, const ParameterTable& table, std::vector<float> values)
      : config(encoder_config),
        parameters(std::move(values)),
        ops(make_cpu_ops<float>()),
        encoder(config, table, *ops),
        arena(*ops) {}

  EncoderConfig config;
  std::vector<float> parameters;
  std::unique_ptr<Ops<float>> ops;
  Encoder<float> encoder;
  Arena<float> arena;
};

Embedder::Embedder(const CheckpointReader& model)
    : impl_(std::make_unique<Impl>(model.meta().encoder, model.table(), read_all(model))) {}

Embedder::Embedder(const EncoderConfig& config, const ParameterTable& table,
                   std::span<const float> parameters)
    : impl_(std::make_unique<Impl>(config, table, std::vector<float>(parameters.begin(), parameters.end()))) {
}

Embedder::~Embedder() = default;

std::int64_t Embedder::dimension() const {
  return impl_->encoder.dimension();
}

void Embedder::embed(const TokenTable& table, std::int64_t first, std::int64_t last, std::span<float> out) {
  const std::int64_t d = dimension();
  if (static_cast<std::int64_t>(out.size()) != (last - first) * d) {
    fail("embedder: {} values for {} rows of {}", out.size(), last - first, d);
  }
  PackedBatch pack;
  for (std::int64_t begin = first; begin < last;) {
    pack.clear();
    std::int64_t row = begin;
    for (; row < last && (row == begin || pack.token_count() + table.length(row) <= kPackTokens); ++row) {
      pack.add(table.row(row), impl_->config.max_positions, 0);
    }
    impl_->arena.reset();
    impl_->encoder.encode(impl_->parameters.data(),
                          {pack.sequences(impl_->config.max_positions), pack.tokens()}, {}, impl_->arena,
                          out.data() + (begin - first) * d);
    begin = row;
  }
}

void Embedder::embed_all(const TokenTable& table, Communicator& communicator, std::span<float> out) {
  const std::int64_t d = dimension();
  const std::vector<std::int64_t> first = token_balanced_slices(table, communicator.size());
  std::vector<std::int64_t> counts;
  for (int rank = 0; rank < communicator.size(); ++rank)
    counts.push_back((first[rank + 1] - first[rank]) * d);
  const int rank = communicator.rank();
  std::vector<float> mine(static_cast<std::size_t>(counts[rank]));
  embed(table, first[rank], first[rank + 1], mine);
  communicator.all_gather(std::span<const float>(mine), counts, out);
}

}  // namespace toller
