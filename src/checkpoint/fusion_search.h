// The search for a good fusion by a measure of its quality, such as nDCG@10 on the dev split: greedy soups
// and sweeps over the settings of methods. Collective: every rank calls with the same arguments.
#pragma once

#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/fusion.h"

namespace toller {

/// Measures of a model by name, in the order to show them.
using Measures = std::vector<std::pair<std::string, double>>;

/// A checkpoint by itself, or a fusion, with what it was measured to be.
struct FusionTrial {
  std::string method;                ///< what it is a trial of; empty: a checkpoint by itself
  std::vector<std::size_t> members;  ///< of the checkpoints, in their order; a soup of one is that checkpoint
  FusionOptions options;
  Measures measures;
  double score = 0;  ///< the measure to search by; more is better
};

struct FusionSearch {
  std::vector<FusionTrial> ingredients;  ///< each checkpoint by itself
  std::vector<FusionTrial> fusions;      ///< in the order of the search
  std::size_t best = 0;  ///< of the fusions; the first of equals, in a greedy soup the last kept
};

enum class FusionSearchOrder { kGrid, kCoordinates };

inline constexpr const char* kGreedySoup = "greedy-soup";

struct FusionSearchTask {
  std::vector<std::filesystem::path> checkpoints;
  std::filesystem::path base;  ///< empty: none
  std::filesystem::path out;   ///< a trial's file lies beside it, under another name
  std::string metric;          ///< Error where it is not among the measures
  std::function<Measures(const std::filesystem::path&)> measure;  ///< collective; the same on every rank

  std::vector<std::string> methods;  ///< kGreedySoup or names of FusionMethod
  FusionOptions options;             ///< settings to start from; the method is not read
  std::set<std::string> given;       ///< options of `toller fuse` whose settings stay as they are
  FusionSearchOrder order = FusionSearchOrder::kGrid;
  std::size_t most_trials = 0;  ///< fusions of a method, greedy soups excepted; 0: as many as there are
};

/// Measures each checkpoint, then fusions by each method, and writes the best fusion to task.out.
///
/// greedy-soup: Wortsman et al.'s. The checkpoints from the best to the worst, each kept in the mean of those
/// kept so far unless the metric falls; its first trial is the best checkpoint alone.
///
/// Other methods: the uniform soup (or that of the weights) comes first, as a trial of `soup`. Then, by
/// method, all combinations of the values below; or by coordinates, from the settings to start from, one
/// setting after the other to the best of its values. Then, from the best of the method, other prior weights,
/// one checkpoint after the other doubled or halved, until a round over all of them, or two rounds, have
/// brought nothing more.
///
///   delta-guided: granularity element, row, tensor, layer × alpha 0.5, 1, 2, 4
///   task-arithmetic: lambda 0.5, 0.75, 1.25, 1.5, 2      ties: density 0.1, 0.2, 0.5, 1 × lambda 0.5, 1, 1.5
///   dare: drop 0.2, 0.5, 0.8 × lambda 0.5, 1, 1.5        slerp: t 0.1, 0.3, 0.5, 0.7, 0.9 (no weights), of
///                                                        the two best checkpoints
FusionSearch search_fusions(const FusionSearchTask& task, Communicator& communicator);

}  // namespace toller
