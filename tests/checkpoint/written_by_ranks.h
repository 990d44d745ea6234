// A small model, written by several ranks as a training run writes it.
#pragma once

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "checkpoint/checkpoint_output.h"
#include "comm/ranks_in_turn.h"
#include "error.h"

namespace toller {

/// A model with its moments.
template <class T>
struct SmallModel {
  explicit SmallModel(std::int64_t step = 42, double first = 0) : table(encoder()) {
    meta.encoder = encoder();
    meta.training = {{"lr", 0.25}};
    meta.state = {{"batches", 17}};
    meta.origin = {{"method", "train"}};
    meta.step = step;
    meta.tokenizer = std::string("bytes\0of it", 11);
    for (std::vector<T>* buffer : {&parameters, &m, &v}) {
      for (std::int64_t i = 0; i < table.size(); ++i) {
        buffer->push_back(static_cast<T>(first + std::sin(static_cast<double>(i))));
      }
      first += 2;
    }
  }
  static EncoderConfig encoder() {
    return EncoderConfig{.vocabulary_size = 11,
                         .hidden_size = 4,
                         .layers = 2,
                         .heads = 2,
                         .intermediate_size = 6,
                         .max_positions = 5};
  }
  /// Two buckets.
  ParameterShards shards(int ranks) const {
    const std::int64_t middle = table.at("encoder.layer.1.attention.self.query.weight").offset;
    return {table, {0, middle, table.size()}, ranks};
  }
  CheckpointShare<T> share(const ParameterShards& shards, int rank) const {
    CheckpointShare<T> share;
    for (const ParameterPiece& piece : shards.pieces(rank)) {
      const auto append = [&](const std::vector<T>& from, std::vector<T>& to) {
        to.insert(to.end(), from.begin() + piece.offset, from.begin() + piece.offset + piece.size);
      };
      append(parameters, share.parameters);
      append(m, share.m);
      append(v, share.v);
    }
    return share;
  }

  CheckpointMeta meta;
  ParameterTable table;
  std::vector<T> parameters, m, v;
};

/// Writes it as a training run does: the share from another thread.
template <class T>
void write_by_ranks(const std::filesystem::path& path, const SmallModel<T>& model, int ranks,
                    CheckpointLayout layout) {
  run_ranks_in_turn(ranks, [&](Communicator& communicator) {
    const ParameterShards shards = model.shards(ranks);
    CheckpointOutput<T> output(path, model.meta, model.table, shards, layout, communicator);
    const CheckpointShare<T> share = model.share(shards, communicator.rank());
    std::thread([&] {
      try {
        output.write(share);
        output.verify();
      } catch (const Error&) {
        // commit() tells
      }
    }).join();
    output.commit();
  });
}

}  // namespace toller
