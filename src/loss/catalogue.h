// The losses by the names that users give them, alone or as weighted sums.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "device/lists/list_loss.h"
#include "loss/loss.h"

namespace toller {

/// What a loss compares scores with.
enum class LossData {
  kJudgements,     ///< which documents are relevant to a query, and how much
  kTeacherScores,  ///< the scores of another model
  kScoredPairs,    ///< how similar two sentences are
};

struct LossDescription {
  const char* name;
  const char* formula;
  const char* inputs;  ///< what it wants of the data
  const char* source;
  const char* cost;  ///< a step, over all ranks: B queries, M documents, dimension d, K documents a query
  LossData data = LossData::kJudgements;
};

/// In the order to show them.
std::span<const LossDescription> loss_descriptions();
/// Of a loss by its name, which must be known (parse_loss_term).
const LossDescription& loss_description(const std::string& name);

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
  /// hinge, bpr and reverse-bpr meet the in-batch negatives, with `pair` (but its kind, and list.scale as the
  /// scale of bpr unless it is 0), or the query's own documents alone, with `list`.
  bool own_negatives = false;
  PairLossOptions pair;
  AlignmentUniformityOptions alignment_uniformity;
  MatryoshkaOptions matryoshka;  ///< of the whole; no dimensions: embeddings as they are
};

/// One loss, or the weighted sum of several; with dimensions given, the matryoshka loss of that. `terms` is
/// not empty.
template <class T>
std::unique_ptr<Loss<T>> make_loss(std::span<const LossTerm> terms, const LossSettings& settings, Ops<T>& ops,
                                   ScoreOps<T>& score_ops);

}  // namespace toller
