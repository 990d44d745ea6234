// A subcommand: one file in this folder, named as the user types it. It declares its options, reads them
// through parse_options and calls the library; it returns 0 or throws (Error → exit status 1, UsageError →
// 2).
#pragma once

#include <boost/program_options.hpp>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace toller {

class Communicator;
class GpuBackends;
struct DeviceOptions;

/// What main hands to every subcommand.
struct CommandContext {
  std::vector<std::string> arguments;  ///< after the subcommand's name
  Communicator& communicator;          ///< all ranks of mpirun, or this process alone
  GpuBackends& gpus;                   ///< what this program can compute on beside the CPU
  /// Ends all ranks with this message; for threads that watch the one that works.
  std::function<void(const std::string&)> abort = {};
};

using CommandFunction = int (*)(CommandContext&);

struct Command {
  const char* name;
  const char* summary;  ///< one line for `toller --help`
  CommandFunction run;
};

int run_wordnet(CommandContext& context);
int run_prepare(CommandContext& context);
int run_train(CommandContext& context);
int run_evaluate(CommandContext& context);
int run_encode(CommandContext& context);
int run_fuse(CommandContext& context);
int run_import(CommandContext& context);
int run_export(CommandContext& context);
int run_inspect(CommandContext& context);
int run_losses(CommandContext& context);

/// Reads the command line into a variables_map. Adds `--help` and `--config FILE` ("key = value" lines, or a
/// flat .json object); a flag beats the file. Unknown keys in either throw UsageError that suggests the
/// nearest key. Returns nothing when --help was asked for and printed. `positional`: name of the option that
/// takes the words without a flag, or empty (then such words are errors). Does not call notify.
std::optional<boost::program_options::variables_map> parse_options(
    const CommandContext& context, const std::string& usage, const std::string& description,
    const boost::program_options::options_description& options, const std::string& positional = "");

/// The value of an option that must be given; UsageError naming it otherwise.
std::string required_option(const boost::program_options::variables_map& values, const std::string& name);

/// Whether the user gave the option a value, on the command line or in a file.
bool is_given(const boost::program_options::variables_map& values, const std::string& name);

/// Adds --device, --precision, --communicator and --timeout, whose values land in `device`.
void add_device_options(boost::program_options::options_description& options, DeviceOptions& device);

/// True on the rank that speaks and writes files.
bool is_root(const CommandContext& context);

}  // namespace toller
