#include "checkpoint/fusion_search.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <optional>

#include "error.h"

namespace toller {
namespace {

constexpr int kRounds = 2;  ///< of the search for prior weights

/// One setting and the values to try: each makes options of options.
struct Axis {
  std::string option;
  std::vector<std::function<void(FusionOptions&)>> values;
};

Axis number_axis(const std::string& option, double FusionOptions::*field, const std::vector<double>& values) {
  Axis axis{option, {}};
  for (const double value : values) {
    axis.values.emplace_back([=](FusionOptions& options) { options.*field = value; });
  }
  return axis;
}

Axis granularity_axis() {
  Axis axis{"granularity", {}};
  for (const auto value : {FusionGranularity::kElement, FusionGranularity::kRow, FusionGranularity::kTensor,
                           FusionGranularity::kLayer}) {
    axis.values.emplace_back([=](FusionOptions& options) { options.granularity = value; });
  }
  return axis;
}

std::vector<Axis> axes_of(FusionMethod method) {
  const Axis lambda = number_axis("lambda", &FusionOptions::scale, {0.5, 1, 1.5});
  switch (method) {
    case FusionMethod::kDeltaGuided:
      return {granularity_axis(), number_axis("alpha", &FusionOptions::alpha, {0.5, 1, 2, 4})};
    case FusionMethod::kTaskArithmetic:  // 1 is the soup
      return {number_axis("lambda", &FusionOptions::scale, {0.5, 0.75, 1.25, 1.5, 2})};
    case FusionMethod::kTies:
      return {number_axis("density", &FusionOptions::density, {0.1, 0.2, 0.5, 1}), lambda};
    case FusionMethod::kDare:
      return {number_axis("drop", &FusionOptions::drop, {0.2, 0.5, 0.8}), lambda};
    case FusionMethod::kSlerp:
      return {number_axis("t", &FusionOptions::fraction, {0.1, 0.3, 0.5, 0.7, 0.9})};
    case FusionMethod::kSoup:
      break;
  }
  return {};
}

/// Measures trials and keeps them.
class Search {
 public:
  Search(const FusionSearchTask& task, Communicator& communicator)
      : task_(task), communicator_(communicator), trial_file_(task.out) {
    trial_file_.replace_filename(fmt::format(".{}.trial.h5", task.out.filename().string()));
  }
  ~Search() {
    std::error_code ignored;
    if (communicator_.rank() == 0) std::filesystem::remove(trial_file_, ignored);
  }
  Search(const Search&) = delete;
  Search& operator=(const Search&) = delete;

  FusionSearch result;

  const FusionSearchTask& task() const { return task_; }

  void measure_ingredients() {
    for (std::size_t k = 0; k < task_.checkpoints.size(); ++k) {
      FusionTrial& trial = result.ingredients.emplace_back();
      trial.members = {k};
      trial.options.method = FusionMethod::kSoup;
      measure(trial, task_.checkpoints[k]);
    }
  }

  /// Numbers of the checkpoints, the best first.
  std::vector<std::size_t> ranking() const {
    std::vector<std::size_t> order = all_members();
    std::ranges::stable_sort(order, std::ranges::greater(),
                             [&](std::size_t k) { return result.ingredients[k].score; });
    return order;
  }
  std::vector<std::size_t> all_members() const {
    std::vector<std::size_t> members(task_.checkpoints.size());
    std::iota(members.begin(), members.end(), std::size_t{0});
    return members;
  }

  /// Fuses and measures what the trial says and appends it.
  const FusionTrial& attempt(FusionTrial trial, bool wins_ties = false) {
    write(trial, trial_file_);
    measure(trial, trial_file_);
    return append(std::move(trial), wins_ties);
  }

  const FusionTrial& append(FusionTrial trial, bool wins_ties = false) {
    std::vector<FusionTrial>& fusions = result.fusions;
    fusions.push_back(std::move(trial));
    const double best = fusions[result.best].score, score = fusions.back().score;
    if (score > best || (wins_ties && score == best)) result.best = fusions.size() - 1;
    return fusions.back();
  }

  void write_best() const { write(result.fusions[result.best], task_.out); }

 private:
  void measure(FusionTrial& trial, const std::filesystem::path& path) const {
    trial.measures = task_.measure(path);
    const auto found = std::ranges::find(trial.measures, task_.metric, &Measures::value_type::first);
    if (found == trial.measures.end()) {
      std::vector<std::string> names;
      for (const auto& [name, value] : trial.measures) names.push_back(name);
      fail_usage("--metric '{}' is unknown; choose {}", task_.metric, fmt::join(names, ", "));
    }
    trial.score = found->second;
  }

  void write(const FusionTrial& trial, const std::filesystem::path& path) const {
    std::vector<std::filesystem::path> members;
    for (const std::size_t k : trial.members) members.push_back(task_.checkpoints[k]);
    fuse_checkpoints(members, task_.base, trial.options, path, communicator_);
  }

  const FusionSearchTask& task_;
  Communicator& communicator_;
  std::filesystem::path trial_file_;
};

FusionTrial trial_of(const std::string& method, std::vector<std::size_t> members, FusionOptions options) {
  return {.method = method, .members = std::move(members), .options = std::move(options), .measures = {}};
}

void make_greedy_soup(Search& search) {
  const FusionOptions soup{.method = FusionMethod::kSoup, .renames = search.task().options.renames};
  const std::vector<std::size_t> order = search.ranking();
  FusionTrial kept = search.result.ingredients[order.front()];
  kept.method = kGreedySoup;
  kept.options = soup;
  search.append(kept);
  for (std::size_t next = 1; next < order.size(); ++next) {
    std::vector<std::size_t> members = kept.members;
    members.push_back(order[next]);
    const FusionTrial& trial = search.attempt(trial_of(kGreedySoup, members, soup), true);
    if (trial.score >= kept.score) kept = trial;
  }
}

/// The search over the settings of one method.
class MethodSweep {
 public:
  MethodSweep(Search& search, FusionMethod method)
      : search_(search), start_(search.task().options), members_(search.all_members()) {
    start_.method = method;
    if (search.task().most_trials > 0) left_ = search.task().most_trials;
    if (method != FusionMethod::kSlerp) return;
    start_.weights.clear();
    members_ = search.ranking();
    members_.resize(2);
    std::ranges::sort(members_);
  }

  /// A trial that was made already.
  void count(const FusionTrial& trial) {
    best_ = trial;
    --left_;
  }

  void run() {
    std::vector<Axis> axes = axes_of(start_.method);
    std::erase_if(axes, [&](const Axis& axis) { return is_given(axis.option); });
    if (search_.task().order == FusionSearchOrder::kGrid || axes.size() < 2) {
      try_grid(axes);
    } else {
      try_coordinates(axes);
    }
    const bool has_weights = start_.method != FusionMethod::kSlerp && !is_given("weights");
    for (int round = 0; round < kRounds && has_weights && members_.size() > 1; ++round) {
      if (!improve_weights()) break;
    }
  }

 private:
  bool is_given(const std::string& option) const { return search_.task().given.contains(option); }

  /// Says whether this is the best of the method so far; makes no more trials than are left.
  bool attempt(const FusionOptions& options) {
    if (left_ == 0) return false;
    --left_;
    const FusionTrial& trial =
        search_.attempt(trial_of(fusion_method_name(options.method), members_, options));
    const bool is_better = !best_ || trial.score > best_->score;
    if (is_better) best_ = trial;
    return is_better;
  }

  /// All combinations of the axes' values, those of the first axis slowest.
  void try_grid(const std::vector<Axis>& axes) {
    if (start_.method == FusionMethod::kSoup) return;
    std::vector<FusionOptions> points = {start_};
    for (const Axis& axis : axes) {
      std::vector<FusionOptions> finer;
      for (const FusionOptions& point : points) {
        for (const auto& set : axis.values) set(finer.emplace_back(point));
      }
      points = std::move(finer);
    }
    for (const FusionOptions& point : points) attempt(point);
  }

  void try_coordinates(const std::vector<Axis>& axes) {
    attempt(start_);
    for (const Axis& axis : axes) {
      const FusionOptions from = best_->options;
      for (const auto& set : axis.values) {
        FusionOptions point = from;
        set(point);
        if (fusion_settings(point) != fusion_settings(from)) attempt(point);
      }
    }
  }

  /// Doubles or halves the weights of the best, one by one; says whether that made it better.
  bool improve_weights() {
    bool improved = false;
    for (std::size_t k = 0; k < members_.size(); ++k) {
      for (const double factor : {2.0, 0.5}) {
        FusionOptions options = best_->options;
        if (options.weights.empty()) options.weights.assign(members_.size(), 1.0);
        options.weights[k] *= factor;
        if (!attempt(options)) continue;
        improved = true;
        break;
      }
    }
    return improved;
  }

  Search& search_;
  FusionOptions start_;
  std::vector<std::size_t> members_;
  std::optional<FusionTrial> best_;
  std::size_t left_ = std::numeric_limits<std::size_t>::max();
};

void check_task(const FusionSearchTask& task) {
  for (const std::string& name : task.methods) {
    FusionOptions options = task.options;
    options.method = name == kGreedySoup ? FusionMethod::kSoup : fusion_method_from_name(name);
    const bool is_slerp = options.method == FusionMethod::kSlerp;
    if (is_slerp || name == kGreedySoup) options.weights.clear();
    check_fusion_options(is_slerp && task.checkpoints.size() > 2 ? 2 : task.checkpoints.size(),
                         !task.base.empty(), options);
  }
}

}  // namespace

FusionSearch search_fusions(const FusionSearchTask& task, Communicator& communicator) {
  check_task(task);
  Search search(task, communicator);
  search.measure_ingredients();
  std::optional<FusionTrial> soup;
  if (std::ranges::any_of(task.methods, [](const std::string& name) { return name != kGreedySoup; })) {
    FusionOptions options = task.options;
    options.method = FusionMethod::kSoup;
    soup = search.attempt(trial_of(fusion_method_name(options.method), search.all_members(), options));
  }
  for (const std::string& name : task.methods) {
    if (name == kGreedySoup) {
      make_greedy_soup(search);
      continue;
    }
    MethodSweep sweep(search, fusion_method_from_name(name));
    if (name == fusion_method_name(FusionMethod::kSoup)) sweep.count(*soup);
    sweep.run();
  }
  search.write_best();
  return search.result;
}

}  // namespace toller
