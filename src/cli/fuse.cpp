#include <charconv>
#include <filesystem>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/fusion.h"
#include "checkpoint/run_checkpoints.h"
#include "cli/command.h"
#include "error.h"

namespace toller {
namespace {

namespace fs = std::filesystem;
namespace po = boost::program_options;

constexpr const char* kUsage = "toller fuse [options] --out FILE CHECKPOINT...";
constexpr const char* kDescription =
    "Combines the parameters of several checkpoints of one model into one model of the same size.\n"
    "A CHECKPOINT is a file or the folder of a run (its last checkpoint).\n\n"
    "  soup          the mean of the parameters, weighted with --weights\n"
    "  delta-guided  a checkpoint counts more where it moved farther from --base: its weight is\n"
    "                |its value - base|^alpha, divided by the sum over the checkpoints\n";

po::options_description declare_options() {
  po::options_description options("Options");
  auto add = options.add_options();
  add("method", po::value<std::string>()->default_value("delta-guided")->value_name("NAME"),
      "delta-guided or soup");
  add("base", po::value<std::string>()->value_name("FILE"),
      "delta-guided: the model before training, RUN/step-00000000.h5");
  add("granularity", po::value<std::string>()->default_value("tensor")->value_name("NAME"),
      "delta-guided: what has one weight: an element, a row of a matrix, a tensor or a layer");
  add("alpha", po::value<double>()->default_value(1.0, "1")->value_name("X"),
      "delta-guided: exponent of the distances; 0 gives the soup");
  add("weights", po::value<std::string>()->value_name("W1,W2,..."),
      "one weight a checkpoint, in their order (equal if not given)");
  add("out", po::value<std::string>()->value_name("FILE"), "checkpoint to write");
  add("checkpoint", po::value<std::vector<std::string>>()->value_name("FILE"),
      "a checkpoint; the same as a word without a flag");
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

FusionOptions read_options(const po::variables_map& values) {
  FusionOptions options;
  options.method = fusion_method_from_name(values["method"].as<std::string>());
  options.granularity = fusion_granularity_from_name(values["granularity"].as<std::string>());
  options.alpha = values["alpha"].as<double>();
  if (values.count("weights") != 0) options.weights = parse_weights(values["weights"].as<std::string>());
  if (options.method == FusionMethod::kDeltaGuided) return options;
  for (const char* name : {"base", "granularity", "alpha"}) {
    if (values.count(name) != 0 && !values[name].defaulted()) {
      fail_usage("--{} is for --method delta-guided", name);
    }
  }
  return options;
}

void report(const FusionSummary& summary, const FusionOptions& options,
            const std::vector<fs::path>& checkpoints, const std::string& out) {
  const bool guided = options.method == FusionMethod::kDeltaGuided;
  fmt::print("{}: {}{} of {} checkpoint{}, {} parameters, step {}\n", out, fusion_method_name(options.method),
             guided ? fmt::format(" fusion by {}, alpha {}", fusion_granularity_name(options.granularity),
                                  options.alpha)
                    : "",
             checkpoints.size(), checkpoints.size() == 1 ? "" : "s", summary.parameters, summary.step);
  for (std::size_t k = 0; k < checkpoints.size(); ++k) {
    fmt::print("  mean weight {:.4f}  {}\n", summary.mean_weights[k], checkpoints[k].string());
  }
}

}  // namespace

int run_fuse(CommandContext& context) {
  const auto values = parse_options(context, kUsage, kDescription, declare_options(), "checkpoint");
  if (!values) return 0;
  const FusionOptions options = read_options(*values);
  const std::string out = required_option(*values, "out");
  if (values->count("checkpoint") == 0) fail_usage("name the checkpoints to fuse");
  if (!is_root(context)) return 0;
  std::vector<fs::path> checkpoints;
  for (const std::string& name : (*values)["checkpoint"].as<std::vector<std::string>>()) {
    checkpoints.push_back(resolve_checkpoint(name));
  }
  const fs::path base =
      values->count("base") != 0 ? resolve_checkpoint((*values)["base"].as<std::string>()) : fs::path();
  report(fuse_checkpoints(checkpoints, base, options, out), options, checkpoints, out);
  return 0;
}

}  // namespace toller
