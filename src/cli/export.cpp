#include "checkpoint/pretrained_model.h"
#include "choice.h"
#include "cli/command.h"
#include "error.h"

namespace toller {
namespace {

namespace po = boost::program_options;

constexpr const char* kUsage = "toller export --to sentence-transformers --out DIR [options] MODEL";
constexpr const char* kDescription =
    "Makes a folder of a checkpoint, or of the last one in the folder of a run, that sentence-transformers "
    "loads\n"
    "without any code of the model's own. DIR is new or empty. The model's tokenizer must be one that was "
    "imported\n"
    "(tokenizer.json or vocab.txt).\n";

po::options_description declare_options() {
  po::options_description options("Options");
  options.add_options()("to", po::value<std::string>()->value_name("NAME"), "sentence-transformers")(
      "out", po::value<std::string>()->value_name("DIR"), "folder to make")(
      "dtype", po::value<std::string>()->default_value("fp32")->value_name("NAME"),
      "of the weights: fp32 (as they are), bf16 or fp16, rounded to nearest")(
      "model", po::value<std::string>()->value_name("MODEL"),
      "the model; the same as the word without a flag");
  return options;
}

}  // namespace

int run_export(CommandContext& context) {
  const auto values = parse_options(context, kUsage, kDescription, declare_options(), "model");
  if (!values) return 0;
  require_choice("--to", required_option(*values, "to"), {"sentence-transformers"});
  const std::string dtype = (*values)["dtype"].as<std::string>(), out = required_option(*values, "out");
  const SafetensorsType type = export_type_from_name("--dtype", dtype);
  const CheckpointReader model(resolve_checkpoint(required_option(*values, "model")));
  if (!is_root(context)) return 0;
  export_sentence_transformers(model, type, out);
  fmt::print("{} written to {}, weights in {}\n", model.path().string(), out, dtype);
  return 0;
}

}  // namespace toller
