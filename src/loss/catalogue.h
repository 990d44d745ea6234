// The losses by the names that users give them, alone or as weighted sums.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/lists/list_loss.h"
#include "loss/loss.h"

namespace toller {

struct LossDescription {
  const char* name;
  const char* formula;
  const char* inputs;  ///< what it wants of the data
  const char* source;
  const char* cost;  ///< a step, over all ranks: B queries, M documents, dimension d, K documents a query
};

/// In the order to show them.
std::span<const LossDescription> loss_descriptions();

/// "ranknet:2.5": a loss and its weight in the sum; 1 where none is given.
struct LossTerm {
  std::string name;
  double weight = 1;
};

/// UsageError for an unknown name, which suggests the nearest one, or a weight that is not a finite number.
LossTerm parse_loss_term(const std::string& text);

/// Options of all of them; each takes its own.
struct LossSettings {
  bool symmetric = false;  ///< infonce
  MwOptions mw;
  ListLossOptions list;  ///< the list-wise ones; their kind is the name's
};

/// One loss, or the weighted sum of several. `terms` is not empty.
template <class T>
std::unique_ptr<Loss<T>> make_loss(std::span<const LossTerm> terms, const LossSettings& settings, Ops<T>& ops,
                                   ScoreOps<T>& score_ops);

}  // namespace toller
