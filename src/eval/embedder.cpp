#include "eval/embedder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <type_traits>
#include <utility>
#include <vector>

#include "data/packed_batch.h"
#include "error.h"
#include "model/encoder.h"

namespace toller {
namespace {

/// Tokens a pack, at least: a pass that keeps nothing is content with more than the training step on a CPU.
constexpr std::int64_t kLeastPack = 2048;

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

/// The first `kept` numbers of a row of embeddings; of unit length where that is asked for and the row is not
/// zero.
template <class Real>
void cut_row(std::int64_t kept, bool normalize, const Real* row, float* out) {
  double squares = 0;
  for (std::int64_t j = 0; j < kept; ++j) {
    squares += static_cast<double>(row[j]) * static_cast<double>(row[j]);
  }
  const double scale = normalize && squares != 0 ? 1 / std::sqrt(squares) : 1;
  for (std::int64_t j = 0; j < kept; ++j) out[j] = static_cast<float>(static_cast<double>(row[j]) * scale);
}

}  // namespace

/// A model on some device.
class Embedder::Model {
 public:
  virtual ~Model() = default;
  virtual std::int64_t dimension() const = 0;
  virtual void embed(const TokenTable& table, Side side, std::int64_t first, std::int64_t last,
                     float* out) = 0;
};

template <class T>
class Embedder::ModelOn : public Embedder::Model {
 public:
  /// `kept`: as the Embedder's.
  ModelOn(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops, const T* parameters,
          std::int64_t kept)
      : config_(config),
        ops_(ops),
        parameters_(parameters),
        encoders_{Encoder<T>(config, table, ops, Side::kQueries),
                  Encoder<T>(config, table, ops, Side::kDocuments)},
        kept_(kept == 0 ? config.hidden_size : kept),
        arena_(ops) {
    if (kept_ < 1 || kept_ > config.hidden_size) {
      fail_usage("embeddings of dimension {} cannot be cut to {}", config.hidden_size, kept_);
    }
  }

  std::int64_t dimension() const override { return kept_; }

  void embed(const TokenTable& table, Side side, std::int64_t first, std::int64_t last, float* out) override {
    for (std::int64_t begin = first; begin < last;) {
      const std::int64_t end = fill_pack(table, begin, last);
      embed_pack(side, out + (begin - first) * dimension());
      begin = end;
    }
  }

 private:
  /// Rows [begin, result) into the pack.
  std::int64_t fill_pack(const TokenTable& table, std::int64_t begin, std::int64_t last) {
    const std::int64_t most = std::max(kLeastPack, ops_.chunk_tokens());
    pack_.clear();
    std::int64_t row = begin;
    for (; row < last && (row == begin || pack_.token_count() + table.length(row) <= most); ++row) {
      pack_.add(table.row(row), config_.max_tokens(), 0);
    }
    return row;
  }

  void embed_pack(Side side, float* out) {
    const std::int64_t rows = pack_.text_count(), full = config_.hidden_size;
    const auto values = static_cast<std::size_t>(rows * full);
    ops_.begin_step();
    arena_.reset();
    RealOf<T>* embeddings = arena_.template take<RealOf<T>>(rows * full);
    const Encoder<T>& tower = encoders_[static_cast<std::size_t>(side)];
    tower.encode(parameters_, ops_.upload_sequences(pack_.sequences(config_.max_tokens())), {}, arena_,
                 embeddings);
    if constexpr (std::is_same_v<RealOf<T>, float>) {
      if (kept_ == full) {
        ops_.copy_to_host(out, embeddings, values * sizeof(float));
        return;
      }
    }
    host_.resize(values);
    ops_.copy_to_host(host_.data(), embeddings, values * sizeof(RealOf<T>));
    const bool normalize = config_.normalize && kept_ < full;
    for (std::int64_t i = 0; i < rows; ++i) {
      cut_row(kept_, normalize, host_.data() + i * full, out + i * kept_);
    }
  }

  EncoderConfig config_;
  Ops<T>& ops_;
  const T* parameters_;
  std::array<Encoder<T>, 2> encoders_;  ///< by side
  std::int64_t kept_;
  Arena arena_;
  PackedBatch pack_;
  std::vector<RealOf<T>> host_;
};

/// A model whose device and parameters are its own.
template <class T>
class Embedder::OwnedModel final : public Embedder::Model {
 public:
  OwnedModel(const CheckpointReader& model, Backend<T> backend, std::int64_t kept)
      : backend_(std::move(backend)),
        parameters_(*backend_.ops, model.table().size()),
        model_(model.meta().encoder, model.table(), *backend_.ops, parameters_.data(), kept) {
    std::vector<RealOf<T>> values(static_cast<std::size_t>(model.table().size()));
    model.read_parameters(std::span<RealOf<T>>(values));
    const DeviceBuffer<RealOf<T>> exact = [&] {
      DeviceBuffer<RealOf<T>> buffer(*backend_.ops, model.table().size());
      buffer.write(values);
      return buffer;
    }();
    backend_.ops->convert(exact.size(), exact.data(), parameters_.data());
  }
  std::int64_t dimension() const override { return model_.dimension(); }
  void embed(const TokenTable& table, Side side, std::int64_t first, std::int64_t last, float* out) override {
    model_.embed(table, side, first, last, out);
  }

 private:
  Backend<T> backend_;
  DeviceBuffer<T> parameters_;
  ModelOn<T> model_;
};

template <class T>
Embedder::Embedder(const CheckpointReader& model, Backend<T> backend, std::int64_t kept)
    : model_(std::make_unique<OwnedModel<T>>(model, std::move(backend), kept)) {}

template <class T>
Embedder::Embedder(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops, const T* parameters,
                   std::int64_t kept)
    : model_(std::make_unique<ModelOn<T>>(config, table, ops, parameters, kept)) {}

Embedder::~Embedder() = default;

std::int64_t Embedder::dimension() const {
  return model_->dimension();
}

void Embedder::embed(const TokenTable& table, Side side, std::int64_t first, std::int64_t last,
                     std::span<float> out) {
  if (static_cast<std::int64_t>(out.size()) != (last - first) * dimension()) {
    fail("embedder: {} values for {} rows of {}", out.size(), last - first, dimension());
  }
  model_->embed(table, side, first, last, out.data());
}

void Embedder::embed_all(const TokenTable& table, Side side, Communicator& communicator,
                         std::span<float> out) {
  const std::int64_t d = dimension();
  const std::vector<std::int64_t> first = token_balanced_slices(table, communicator.size());
  std::vector<std::int64_t> counts;
  for (int rank = 0; rank < communicator.size(); ++rank)
    counts.push_back((first[rank + 1] - first[rank]) * d);
  const int rank = communicator.rank();
  std::vector<float> mine(static_cast<std::size_t>(counts[rank]));
  embed(table, side, first[rank], first[rank + 1], mine);
  communicator.all_gather(std::span<const float>(mine), counts, out);
}

#define TOLLER_INSTANTIATE(T)                                                     \
  template Embedder::Embedder(const CheckpointReader&, Backend<T>, std::int64_t); \
  template Embedder::Embedder(const EncoderConfig&, const ParameterTable&, Ops<T>&, const T*, std::int64_t);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
