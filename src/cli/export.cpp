#include "checkpoint/pretrained_model.h"
#include "choice.h"
#include "cli/command.h"
#include "error.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = "toller export --to sentence-transformers --out DIR [options] MODEL";
constexpr const char* kDescription =
    "Makes a folder of a checkpoint, or of the last one in the folder of a run, that sentence-transformers "
    "loads\n"
    "without any code of the model's own. DIR is new or empty.\n";

po::options_description declare_options() {
  po::options_description options("Options");
  options.add_options()("to", po::value<std::string>()->value_name("NAME"), "sentence-transformers")(
      "out", po::value<std::string>()->value_name("DIR"), "folder to make")(
      "side", po::value<std::string>()->value_name("NAME"),
      "of a model with separate towers, which of them: queries or documents")(
      "dtype", po::value<std::string>()->default_value("fp32")->value_name("NAME"),
      "of the weights: fp32 (as they are), bf16 or fp16, rounded to nearest")(
      "model", po::value<std::string>()->value_name("MODEL"),
      "the model; the same as the word without a flag");
  return options;
}

/// Which tower is meant, of a model that has two.
Side read_side(const po::variables_map& values, const CheckpointReader& model) {
  const std::string path = model.path().string();
  const bool has_two = model.meta().encoder.separate_towers, is_given = values.count("side") != 0;
  if (has_two && !is_given) {
    fail_usage("{} has separate towers; --side queries or --side documents says which to export", path);
  }
  if (is_given && !has_two) fail_usage("--side has no meaning for {}, which has one tower for both", path);
  return has_two ? side_from_name("--side", values["side"].as<std::string>()) : Side::kQueries;
}

}  // namespace

int run_export(CommandContext& context) {
  const auto values = parse_options(context, kUsage, kDescription, declare_options(), "model");
  if (!values) return 0;
  require_choice("--to", required_option(*values, "to"), {"sentence-transformers"});
  const std::string dtype = (*values)["dtype"].as<std::string>(), out = required_option(*values, "out");
  const SafetensorsType type = export_type_from_name("--dtype", dtype);
  const CheckpointReader model(resolve_checkpoint(required_option(*values, "model")));
  const Side side = read_side(*values, model);
  if (!is_root(context)) return 0;
  export_sentence_transformers(model, side, type, out);
  fmt::print("{} written to {}, weights in {}\n", model.path().string(), out, dtype);
  if (!is_tokenizer_json(model.meta().tokenizer)) {
    fmt::print(
        "note: the tokenizer is a sentencepiece model, brought into another form; rare texts get other "
        "tokens "
        "there\n");
  }
  return 0;
}

}  // namespace toller
