#include "model/parameters.h"

#include <cmath>
#include <cstdint>
#include <numbers>

#include "error.h"
#include "random.h"

namespace toller {
namespace {

bool ends_with(const std::string& text, const std::string& ending) {
  return text.size() >= ending.size() &&
         text.compare(text.size() - ending.size(), ending.size(), ending) == 0;
}

/// Box–Muller: element i of tensor t takes the first normal number of its own Philox block.
double normal(std::uint64_t seed, std::uint32_t tensor, std::uint64_t element) {
  const PhiloxBlock bits = random_block(seed, RandomStream::kParameterInit, element, tensor);
  const double radius = std::sqrt(-2.0 * std::log(uniform_open(bits[0])));
  return radius * std::cos(2.0 * std::numbers::pi * uniform_open(bits[1]));
}

}  // namespace

std::string tower_prefix(const EncoderConfig& config, Side side) {
  if (!config.separate_towers) return "";
  return side == Side::kQueries ? "queries." : "documents.";
}

ParameterTable::ParameterTable(const EncoderConfig& config) {
  add_tower(config, tower_prefix(config, Side::kQueries));
  if (config.separate_towers) add_tower(config, tower_prefix(config, Side::kDocuments));
  add("loss.log_temperature", {1}, false);
}

void ParameterTable::add_tower(const EncoderConfig& config, const std::string& prefix) {
  const std::int64_t hidden = config.hidden_size;
  const std::int64_t inner = config.intermediate_size;
  const auto add_norm = [&](const std::string& name) {
    add(name + ".weight", {hidden}, false);
    add(name + ".bias", {hidden}, false);
  };
  const auto add_linear = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    add(name + ".weight", {out, in}, true);
    add(name + ".bias", {out}, false);
  };

  add(prefix + "embeddings.word_embeddings.weight", {config.vocabulary_size, hidden}, true);
  add(prefix + "embeddings.position_embeddings.weight", {config.max_positions, hidden}, true);
  if (config.type_vocabulary_size > 0) {
    add(prefix + "embeddings.token_type_embeddings.weight", {config.type_vocabulary_size, hidden}, true);
  }
  add_norm(prefix + "embeddings.LayerNorm");
  for (std::int32_t layer = 0; layer < config.layers; ++layer) {
    const std::string layer_prefix = fmt::format("{}encoder.layer.{}.", prefix, layer);
    for (const char* part : {"query", "key", "value"}) {
      add(fmt::format("{}attention.self.{}.weight", layer_prefix, part), {hidden, hidden}, true);
    }
    for (const char* part : {"query", "key", "value"}) {
      add(fmt::format("{}attention.self.{}.bias", layer_prefix, part), {hidden}, false);
    }
    add_linear(layer_prefix + "attention.output.dense", hidden, hidden);
    add_norm(layer_prefix + "attention.output.LayerNorm");
    add_linear(layer_prefix + "intermediate.dense", inner, hidden);
    add_linear(layer_prefix + "output.dense", hidden, inner);
    add_norm(layer_prefix + "output.LayerNorm");
  }
}

void ParameterTable::add(const std::string& name, std::vector<std::int64_t> shape, bool decay) {
  TensorView tensor{name, std::move(shape), size_, 1, decay};
  for (const std::int64_t extent : tensor.shape) tensor.size *= extent;
  size_ += tensor.size;
  tensors_.push_back(std::move(tensor));
}

const TensorView& ParameterTable::at(const std::string& name) const {
  for (const TensorView& tensor : tensors_) {
    if (tensor.name == name) return tensor;
  }
  fail("the model has no tensor {}", name);
}

template <class T>
void initialize_parameters(const EncoderConfig& config, const ParameterTable& table, std::uint64_t seed,
                           T* out) {
  for (std::size_t index = 0; index < table.tensors().size(); ++index) {
    const TensorView& tensor = table.tensors()[index];
    T* values = out + tensor.offset;
    const bool norm_gain = ends_with(tensor.name, "LayerNorm.weight");
    for (std::int64_t i = 0; i < tensor.size; ++i) {
      if (tensor.decay) {
        const auto id = static_cast<std::uint32_t>(index);
        values[i] =
            static_cast<T>(config.initializer_range * normal(seed, id, static_cast<std::uint64_t>(i)));
      } else {
        values[i] = norm_gain ? T{1} : T{0};
      }
    }
  }
}

template void initialize_parameters<float>(const EncoderConfig&, const ParameterTable&, std::uint64_t,
                                           float*);
template void initialize_parameters<double>(const EncoderConfig&, const ParameterTable&, std::uint64_t,
                                            double*);

}  // namespace toller
