#include "checkpoint/fusion.h"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>
#include <span>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fusion_rule.h"
#include "checkpoint/fusion_sources.h"
#include "choice.h"
#include "error.h"

namespace toller {
namespace {

constexpr std::array<std::pair<FusionMethod, const char*>, 6> kMethods = {
    {{FusionMethod::kDeltaGuided, "delta-guided"},
     {FusionMethod::kSoup, "soup"},
     {FusionMethod::kTaskArithmetic, "task-arithmetic"},
     {FusionMethod::kTies, "ties"},
     {FusionMethod::kDare, "dare"},
     {FusionMethod::kSlerp, "slerp"}}};

constexpr std::array<std::pair<FusionGranularity, const char*>, 4> kGranularities = {
    {{FusionGranularity::kElement, "element"},
     {FusionGranularity::kRow, "row"},
     {FusionGranularity::kTensor, "tensor"},
     {FusionGranularity::kLayer, "layer"}}};

std::vector<double> normalised_prior(const FusionOptions& options, std::size_t checkpoints) {
  std::vector<double> prior = options.weights;
  if (prior.empty()) prior.assign(checkpoints, 1.0);
  const double sum = std::accumulate(prior.begin(), prior.end(), 0.0);
  for (double& weight : prior) weight /= sum;
  return prior;
}

nlohmann::json origin_json(const FusionTask& task) {
  nlohmann::json origin = fusion_settings(task.options);
  origin["method"] = fusion_method_name(task.options.method);
  origin["sources"] = nlohmann::json::array();
  for (const TensorRename& rename : task.options.renames) {
    origin["renames"].push_back(fmt::format("{}={}", rename.from, rename.to));
  }
  for (const CheckpointReader& base : task.sources.base()) origin["base"] = base.path().string();
  for (std::size_t k = 0; k < task.sources.size(); ++k) {
    const CheckpointReader& source = task.sources.checkpoints()[k];
    nlohmann::json entry = {
        {"path", source.path().string()}, {"step", source.meta().step}, {"origin", source.meta().origin}};
    if (task.options.method != FusionMethod::kSlerp) entry["weight"] = task.prior[k];
    origin["sources"].push_back(entry);
  }
  return origin;
}

/// Fuses block after block, each round one on every rank; rank 0, which has the writer, writes them in order.
template <class T>
void write_fusion(const FusionSources& sources, const FusionRule& rule,
                  std::optional<CheckpointWriter>& writer, std::span<double> totals) {
  const std::vector<BlockPlace>& blocks = sources.blocks();
  Communicator& communicator = sources.communicator();
  const auto ranks = static_cast<std::size_t>(communicator.size());
  for (std::size_t first = 0; first < blocks.size(); first += ranks) {
    const std::span<const BlockPlace> round =
        std::span(blocks).subspan(first, std::min(ranks, blocks.size() - first));
    std::vector<std::int64_t> counts(ranks);
    std::ranges::transform(round, counts.begin(), &BlockPlace::size);
    std::vector<T> local;
    sources.visit_share(first, first + round.size(), [&](const FusionBlock& block, std::size_t) {
      std::vector<double> fused(block.size());
      rule.fuse(block, fused, totals);
      local.assign(fused.begin(), fused.end());
    });
    std::vector<T> all(static_cast<std::size_t>(std::reduce(counts.begin(), counts.end())));
    communicator.all_gather(std::span<const T>(local), counts, std::span<T>(all));
    if (!writer) continue;
    std::size_t at = 0;
    for (const BlockPlace& place : round) {
      const auto size = static_cast<std::size_t>(place.size);
      writer->write_rows(sources.table().tensors()[place.tensor], place.first,
                         std::span<const T>(all).subspan(at, size));
      at += size;
    }
  }
}

void check_range(const char* option, double value, bool is_good, const char* wanted) {
  if (!is_good) fail_usage("--{} is {}, must be {}", option, value, wanted);
}

}  // namespace

FusionMethod fusion_method_from_name(const std::string& name) {
  return value_of_word("fusion method", name, kMethods);
}

FusionGranularity fusion_granularity_from_name(const std::string& name) {
  return value_of_word("granularity", name, kGranularities);
}

std::string fusion_method_name(FusionMethod method) {
  return kMethods[static_cast<std::size_t>(method)].second;
}

std::vector<std::string> fusion_method_names() {
  std::vector<std::string> names;
  for (const auto& [method, name] : kMethods) names.emplace_back(name);
  return names;
}

std::string fusion_granularity_name(FusionGranularity granularity) {
  return kGranularities[static_cast<std::size_t>(granularity)].second;
}

bool needs_base(FusionMethod method) {
  return method != FusionMethod::kSoup && method != FusionMethod::kSlerp;
}

nlohmann::ordered_json fusion_settings(const FusionOptions& options) {
  switch (options.method) {
    case FusionMethod::kDeltaGuided:
      return {{"granularity", fusion_granularity_name(options.granularity)}, {"alpha", options.alpha}};
    case FusionMethod::kTaskArithmetic:
      return {{"lambda", options.scale}};
    case FusionMethod::kTies:
      return {{"lambda", options.scale}, {"density", options.density}};
    case FusionMethod::kDare:
      return {{"lambda", options.scale}, {"drop", options.drop}, {"seed", options.seed}};
    case FusionMethod::kSlerp:
      return {{"t", options.fraction}};
    case FusionMethod::kSoup:
      break;
  }
  return nlohmann::ordered_json::object();
}

void check_fusion_options(std::size_t checkpoints, bool has_base, const FusionOptions& options) {
  const std::string method = fusion_method_name(options.method);
  if (checkpoints == 0) fail_usage("fusion needs at least one checkpoint");
  if (needs_base(options.method) && !has_base) {
    fail_usage("--method {} needs a base: the model before training (--base RUN/step-00000000.h5)", method);
  }
  if (options.method == FusionMethod::kSlerp && checkpoints != 2) {
    fail_usage("--method slerp is between two checkpoints, not {}", checkpoints);
  }
  const auto is_within = [](double value, double low, double high) { return value >= low && value <= high; };
  const double largest = std::numeric_limits<double>::max();
  check_range("alpha", options.alpha, is_within(options.alpha, 0, largest), "at least 0");
  check_range("lambda", options.scale, is_within(options.scale, -largest, largest), "finite");
  check_range("density", options.density, options.density > 0 && options.density <= 1,
              "above 0 and at most 1");
  check_range("drop", options.drop, options.drop >= 0 && options.drop < 1, "at least 0 and below 1");
  check_range("t", options.fraction, is_within(options.fraction, 0, 1), "between 0 and 1");
  if (options.weights.empty()) return;
  if (options.method == FusionMethod::kSlerp) fail_usage("--weights has no meaning with --method slerp");
  if (options.weights.size() != checkpoints) {
    fail_usage("--weights has {} weights for {} checkpoints", options.weights.size(), checkpoints);
  }
  for (const double weight : options.weights) {
    check_range("weights", weight, weight > 0 && weight <= largest, "greater than 0");
  }
}

FusionSummary fuse_checkpoints(const std::vector<std::filesystem::path>& checkpoints,
                               const std::filesystem::path& base, const FusionOptions& options,
                               const std::filesystem::path& out, Communicator& communicator) {
  check_fusion_options(checkpoints.size(), !base.empty(), options);
  const FusionSources sources(checkpoints, needs_base(options.method) ? base : std::filesystem::path(),
                              options, communicator);
  const FusionTask task{sources, options, normalised_prior(options, sources.size())};
  CheckpointMeta meta;
  meta.encoder = sources.checkpoints().front().meta().encoder;
  meta.tokenizer = sources.checkpoints().front().meta().tokenizer;
  meta.form = sources.checkpoints().front().meta().form;
  meta.origin = origin_json(task);
  bool wide = false;
  for (const CheckpointReader& source : sources.checkpoints()) {
    meta.step = std::max(meta.step, source.meta().step);
    wide = wide || source.type() == ElementType::kFloat64;
  }
  const bool is_writing = communicator.rank() == 0;
  // What cannot be written fails at once. The file is begun when all ranks have found their share of the
  // models good: a rank that ends all others would leave it behind.
  if (is_writing) CheckpointWriter(out, meta);
  sources.verify();
  communicator.barrier();
  std::optional<CheckpointWriter> writer;
  if (is_writing) writer.emplace(out, meta);
  const std::unique_ptr<FusionRule> rule = make_fusion_rule(task);
  std::vector<double> totals(sources.size());
  if (wide) {
    write_fusion<double>(sources, *rule, writer, totals);
  } else {
    write_fusion<float>(sources, *rule, writer, totals);
  }
  communicator.all_reduce_sum(std::span(totals));
  // Nobody goes on, perhaps to read the file, before it is there.
  if (writer) writer->commit();
  communicator.barrier();
  for (double& total : totals) total /= static_cast<double>(sources.table().size());
  return {totals, sources.table().size(), meta.step};
}

}  // namespace toller
