#include <algorithm>
#include <charconv>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fusion.h"
#include "checkpoint/fusion_search.h"
#include "checkpoint/run_checkpoints.h"
#include "choice.h"
#include "cli/command.h"
#include "cli/fusion_report.h"
#include "cli/glob.h"
#include "cli/open_embedder.h"
#include "cli/result_file.h"
#include "comm/communicator.h"
#include "data/token_store.h"
#include "device/cpu/threads.h"
#include "error.h"
#include "eval/evaluation.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr const char* kUsage =
    "toller fuse [options] --out FILE CHECKPOINT...\n"
    "       toller fuse --method greedy-soup --data STORE [options] --out FILE CHECKPOINT...\n"
    "       toller fuse --sweep [--method NAME,...] --data STORE [options] --out FILE CHECKPOINT...";
constexpr const char* kDescription =
    "Combines the parameters of several checkpoints of one model into one model of the same size.\n"
    "A CHECKPOINT is a file, the folder of a run (its last checkpoint), or a pattern in quotes: '*', '?',\n"
    "'[...]', and '**' for any number of folders, as in 'runs/**/step-*.h5'. Under mpirun the ranks share "
    "the\n"
    "work; the result is the same. delta = a checkpoint's value - that of --base.\n\n"
    "  soup             the mean of the parameters\n"
    "  delta-guided     base + mean of the deltas, in which a checkpoint counts more where it moved farther: "
    "its\n"
    "                   weight is |delta|^alpha, divided by the sum over the checkpoints\n"
    "  task-arithmetic  base + lambda * mean of the deltas\n"
    "  ties             base + lambda * mean of those deltas that are large (--density) and have the sign "
    "that\n"
    "                   prevails\n"
    "  dare             base + lambda * mean of the deltas, of which a share (--drop) is dropped at random "
    "and the\n"
    "                   rest made larger by as much\n"
    "  slerp            between two checkpoints, along an arc\n"
    "  greedy-soup      the mean of the best checkpoint and of those that do not make it worse, tried in "
    "the\n"
    "                   order of their quality on --data\n\n"
    "--sweep tries the values of the methods' settings that are not given, and weights, on --data, and keeps "
    "the\n"
    "best; of more than two checkpoints, slerp takes the two best.\n";

po::options_description fusion_options() {
  const FusionOptions defaults;
  po::options_description options("Fusion");
  auto add = options.add_options();
  const auto number = [](double value) {
    return po::value<double>()->default_value(value, fmt::format("{}", value))->value_name("X");
  };
  add("method", po::value<std::string>()->default_value("delta-guided")->value_name("NAME"),
      "one of those above; with --sweep several, with commas between them, or 'all'");
  add("base", po::value<std::string>()->value_name("FILE"),
      "the model before training, RUN/step-00000000.h5; not for soup, greedy-soup and slerp");
  add("weights", po::value<std::string>()->value_name("W1,W2,..."),
      "one weight a checkpoint, in their order (equal if not given); not for slerp and greedy-soup");
  add("granularity", po::value<std::string>()->default_value("tensor")->value_name("NAME"),
      "delta-guided: what has one weight: an element, a row of a matrix, a tensor or a layer");
  add("alpha", number(defaults.alpha), "delta-guided: exponent of the distances; 0 gives the soup");
  add("lambda", number(defaults.scale),
      "task-arithmetic, ties, dare: how far to go; the number of checkpoints gives the sum of the deltas");
  add("density", number(defaults.density), "ties: share of each tensor's elements that is kept");
  add("drop", number(defaults.drop), "dare: share of the elements that is dropped");
  add("seed", po::value<std::uint64_t>()->default_value(defaults.seed)->value_name("N"),
      "dare: of what is dropped");
  add("t", number(defaults.fraction), "slerp: 0 is the first checkpoint, 1 the second");
  add("map", po::value<std::vector<std::string>>()->composing()->value_name("FROM=TO"),
      "tensors that are called FROM in a checkpoint are the model's TO; 'bert.*=*' is about all names that "
      "begin with 'bert.'; any number of times");
  add("out", po::value<std::string>()->value_name("FILE"), "checkpoint to write");
  add("checkpoint", po::value<std::vector<std::string>>()->value_name("FILE"),
      "a checkpoint; the same as a word without a flag");
  return options;
}

po::options_description search_options(DeviceOptions& device) {
  po::options_description options("Search by quality (--sweep, --method greedy-soup)");
  auto add = options.add_options();
  add("sweep", po::bool_switch(), "search for the best settings");
  add("search", po::value<std::string>()->default_value("grid")->value_name("NAME"),
      "how --sweep goes about it: grid (all combinations) or coordinates (one setting after the other)");
  add("trials", po::value<std::int64_t>()->default_value(0, "all")->value_name("N"),
      "--sweep: fusions of a method to measure at most");
  add("data", po::value<std::string>()->value_name("FILE"), "token store that `toller prepare` wrote");
  add("split", po::value<std::string>()->default_value("dev")->value_name("NAME"), "split of the store");
  add("metric", po::value<std::string>()->default_value("ndcg@10")->value_name("NAME"),
      "what `toller evaluate` calls it");
  add("eval-queries", po::value<std::int64_t>()->default_value(500)->value_name("N"),
      "queries of the split to use; 0: all");
  add("json", po::value<std::string>()->value_name("FILE"), "write all results to FILE");
  add("plot", po::value<std::string>()->value_name("FILE"), "draw the results to FILE, an SVG picture");
  add("threads", po::value<int>()->default_value(0, "auto")->value_name("N"), "threads a rank");
  add_device_options(options, device);
  return options;
}

std::vector<double> parse_weights(const std::string& text) {
  std::vector<double> weights;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    double weight = 0;
    const auto [stop, error] = std::from_chars(text.data() + begin, text.data() + end, weight);
    if (error != std::errc() || stop != text.data() + end) {
      fail_usage("--weights {}: '{}' is not a number", text, text.substr(begin, end - begin));
    }
    weights.push_back(weight);
    begin = end + 1;
  }
  return weights;
}

/// Options that only some methods have.
const std::vector<std::pair<const char*, std::set<std::string>>>& method_options() {
  static const std::vector<std::pair<const char*, std::set<std::string>>> options = {
      {"base", {"delta-guided", "task-arithmetic", "ties", "dare"}},
      {"weights", {"soup", "delta-guided", "task-arithmetic", "ties", "dare"}},
      {"granularity", {"delta-guided"}},
      {"alpha", {"delta-guided"}},
      {"lambda", {"task-arithmetic", "ties", "dare"}},
      {"density", {"ties"}},
      {"drop", {"dare"}},
      {"seed", {"dare"}},
      {"t", {"slerp"}}};
  return options;
}

/// What is to be done.
struct Request {
  std::vector<std::string> methods;
  FusionOptions options;
  bool sweep = false;
  std::set<std::string> given;  ///< names of the methods' options that have been set

  bool searches() const { return sweep || methods.front() == kGreedySoup; }
};

std::vector<std::string> read_methods(const std::string& text, bool sweep) {
  std::vector<std::string> known = fusion_method_names();
  known.emplace_back(kGreedySoup);
  if (text == "all" && sweep) return known;
  std::vector<std::string> methods;
  std::istringstream words(text);
  for (std::string method; std::getline(words, method, ',');) {
    if (std::ranges::find(known, method) == known.end()) fail_unknown("--method", method, known);
    if (std::ranges::find(methods, method) != methods.end()) {
      fail_usage("--method {}: {} is there twice", text, method);
    }
    methods.push_back(method);
  }
  if (methods.empty()) fail_unknown("--method", text, known);
  if (methods.size() > 1 && !sweep) fail_usage("--method {}: several methods are for --sweep", text);
  return methods;
}

TensorRename parse_rename(const std::string& text) {
  const std::size_t middle = text.find('=');
  if (middle == text.npos) fail_usage("--map {}: expected FROM=TO", text);
  const TensorRename rename{text.substr(0, middle), text.substr(middle + 1)};
  for (const std::string& name : {rename.from, rename.to}) {
    if (name.empty() || name.find('*') < name.size() - 1) {
      fail_usage("--map {}: expected names, or beginnings of names with a '*' at their ends", text);
    }
  }
  if (rename.from.ends_with('*') != rename.to.ends_with('*')) {
    fail_usage("--map {}: expected a '*' at the end of both or of none", text);
  }
  return rename;
}

/// Options of methods that were set; refuses those that none of the methods has.
std::set<std::string> read_given(const po::variables_map& values, const std::vector<std::string>& methods) {
  std::set<std::string> given;
  for (const auto& [name, wanted] : method_options()) {
    if (!is_given(values, name)) continue;
    if (std::ranges::none_of(methods, [&](const std::string& method) { return wanted.contains(method); })) {
      fail_usage("--{} has no meaning with --method {}; it is for {}", name, fmt::join(methods, ","),
                 fmt::join(wanted, ", "));
    }
    given.insert(name);
  }
  return given;
}

FusionOptions read_settings(const po::variables_map& values) {
  FusionOptions options;
  options.granularity = fusion_granularity_from_name(values["granularity"].as<std::string>());
  if (values.count("weights") != 0) options.weights = parse_weights(values["weights"].as<std::string>());
  options.alpha = values["alpha"].as<double>();
  options.scale = values["lambda"].as<double>();
  options.density = values["density"].as<double>();
  options.drop = values["drop"].as<double>();
  options.seed = values["seed"].as<std::uint64_t>();
  options.fraction = values["t"].as<double>();
  if (values.count("map") == 0) return options;
  for (const std::string& text : values["map"].as<std::vector<std::string>>()) {
    options.renames.push_back(parse_rename(text));
  }
  return options;
}

Request read_request(const po::variables_map& values, const po::options_description& search) {
  Request request;
  request.sweep = values["sweep"].as<bool>();
  request.methods = read_methods(values["method"].as<std::string>(), request.sweep);
  request.given = read_given(values, request.methods);
  for (const auto& option : search.options()) {
    if (!request.searches() && is_given(values, option->long_name())) {
      fail_usage("--{} is for --sweep and --method {}", option->long_name(), kGreedySoup);
    }
  }
  for (const char* name : {"search", "trials"}) {
    if (!request.sweep && is_given(values, name)) fail_usage("--{} is for --sweep", name);
  }
  request.options = read_settings(values);
  if (!request.searches()) request.options.method = fusion_method_from_name(request.methods.front());
  return request;
}

FusionSearchOrder read_order(const std::string& name) {
  require_choice("--search", name, {"grid", "coordinates"});
  return name == "grid" ? FusionSearchOrder::kGrid : FusionSearchOrder::kCoordinates;
}

std::int64_t read_count(const po::variables_map& values, const char* name) {
  const std::int64_t count = values[name].as<std::int64_t>();
  if (count < 0) fail_usage("--{} is {}, must be at least 0", name, count);
  return count;
}

int search_and_report(const CommandContext& context, const po::variables_map& values,
                      const DeviceOptions& device, const Request& request, FusionSearchTask task) {
  const std::int64_t queries = read_count(values, "eval-queries");
  task.methods = request.methods;
  task.options = request.options;
  task.given = request.given;
  task.order = read_order(required_option(values, "search"));
  task.most_trials = static_cast<std::size_t>(read_count(values, "trials"));
  const std::string data = required_option(values, "data");
  std::unique_ptr<AtomicFileWriter> json_file, plot_file;
  if (is_root(context)) json_file = open_output(values, "json"), plot_file = open_output(values, "plot");
  set_threads(values["threads"].as<int>());
  const TokenStore store = read_token_store(data);
  const Split& split = store.split(required_option(values, "split"));
  task.metric = required_option(values, "metric");
  const EvaluationOptions evaluation{.auc = task.metric.starts_with("auc"), .most_queries = queries};
  task.measure = [&](const fs::path& path) {
    const CheckpointReader model(path, task.options.renames);
    check_same_texts(model, store);
    const auto embedder = open_embedder(model, device, context, 0);
    return evaluate_model(*embedder, store, split, evaluation, context.communicator).metrics;
  };
  const FusionSearch search = search_fusions(task, context.communicator);
  if (!is_root(context)) return 0;
  print_search(search, task);
  nlohmann::ordered_json json{
      {"data", store.path.string()}, {"split", split.name}, {"queries", queries}, {"metric", task.metric}};
  json.update(search_json(search, task));
  write_json(std::move(json_file), json);
  write_text(
      std::move(plot_file),
      search_picture(search, task, fmt::format("{} on split {} of {}", task.metric, split.name, data)));
  return 0;
}

}  // namespace

int run_fuse(CommandContext& context) {
  DeviceOptions device;
  const po::options_description search = search_options(device);
  po::options_description options;
  options.add(fusion_options()).add(search);
  auto values = parse_options(context, kUsage, kDescription, options, "checkpoint");
  if (!values) return 0;
  po::notify(*values);
  const Request request = read_request(*values, search);
  FusionSearchTask task;
  task.out = required_option(*values, "out");
  if (values->count("checkpoint") == 0) fail_usage("name the checkpoints to fuse");
  for (const std::string& word : (*values)["checkpoint"].as<std::vector<std::string>>()) {
    for (const fs::path& path : expand_pattern(word)) {
      if (path == word || !is_checkpoint_part(path)) task.checkpoints.push_back(resolve_checkpoint(path));
    }
  }
  if (values->count("base") != 0) task.base = resolve_checkpoint((*values)["base"].as<std::string>());
  if (request.searches()) return search_and_report(context, *values, device, request, task);
  const FusionSummary summary =
      fuse_checkpoints(task.checkpoints, task.base, request.options, task.out, context.communicator);
  if (is_root(context)) print_fusion(summary, request.options, task.checkpoints, task.out);
  return 0;
}

}  // namespace toller
