// What a run says of a data set while it trains: ranking metrics, or the correlations of scored pairs.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "comm/communicator.h"
#include "data/token_store.h"
#include "eval/embedder.h"

namespace toller {

/// Evaluates on a split of a store, of a store with judgements on at most so many queries (0: all). Adds the
/// metrics to `line` under `prefix`, a slash and their names, and returns the foremost for people.
/// Collective.
std::string evaluate_split(Embedder& embedder, const TokenStore& store, const Split& split,
                           std::int64_t most_queries, const std::string& prefix, Communicator& communicator,
                           nlohmann::ordered_json& line);

}  // namespace toller
