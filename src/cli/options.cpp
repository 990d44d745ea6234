#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cli/command.h"
#include "cli/suggest.h"
#include "comm/communicator.h"
#include "device/backend.h"
#include "error.h"

namespace toller {
namespace {

namespace po = boost::program_options;

/// " (did you mean --x?)", or nothing.
std::string suggestion(const std::string& name, const po::options_description& options, const char* prefix) {
  std::vector<std::string> names;
  for (const auto& option : options.options()) names.push_back(option->long_name());
  const std::string nearest = nearest_name(name, names);
  return nearest.empty() ? "" : fmt::format(" (did you mean {}{}?)", prefix, nearest);
}

bool is_finite(const boost::any& value) {
  if (const auto* number = boost::any_cast<float>(&value)) return std::isfinite(*number);
  if (const auto* number = boost::any_cast<double>(&value)) return std::isfinite(*number);
  if (const auto* numbers = boost::any_cast<std::vector<double>>(&value)) {
    return std::ranges::all_of(*numbers, [](double number) { return std::isfinite(number); });
  }
  return true;
}

bool is_unsigned(const po::option_description& option) {
  const auto* typed = dynamic_cast<const po::typed_value_base*>(option.semantic().get());
  if (typed == nullptr) return false;
  const std::type_info& type = typed->value_type();
  return type == typeid(unsigned) || type == typeid(unsigned long) || type == typeid(unsigned long long);
}

/// Stores what one source gave; values that an earlier source gave stay. Adds the checks that Boost lacks: it
/// reads
/// "-5" into an unsigned number by wrapping round, and takes "nan" and "inf" for numbers.
void store(const po::parsed_options& parsed, const po::options_description& options, const char* prefix,
           po::variables_map& values) {
  for (const po::option& option : parsed.options) {
    const bool negative = !option.value.empty() && option.value.front().starts_with('-');
    if (negative && is_unsigned(options.find(option.string_key, false))) {
      fail_usage("option '{}{}': '{}' is negative", prefix, option.string_key, option.value.front());
    }
  }
  po::store(parsed, values);
  for (const po::option& option : parsed.options) {
    if (!is_finite(values[option.string_key].value())) {
      fail_usage("option '{}{}': '{}' is not a finite number", prefix, option.string_key,
                 option.value.front());
    }
  }
}

void store_command_line(const std::vector<std::string>& arguments, const po::options_description& options,
                        const std::string& positional, po::variables_map& values) {
  namespace style = po::command_line_style;
  // Long names only, never abbreviated: a later option must not change what an old command line means.
  po::command_line_parser parser(arguments);
  parser.options(options).allow_unregistered().style(style::allow_long | style::long_allow_adjacent |
                                                     style::long_allow_next);
  po::positional_options_description positions;
  if (!positional.empty()) parser.positional(positions.add(positional.c_str(), -1));
  po::parsed_options parsed = parser.run();
  for (const po::option& option : parsed.options) {
    const std::string& word =
        option.original_tokens.empty() ? option.string_key : option.original_tokens.front();
    if (option.string_key.empty()) {
      fail_usage("unexpected word '{}': values follow an option, as in --name value", word);
    }
    if (option.unregistered) {
      const std::string name = word.substr(0, word.find('=')).substr(std::min<std::size_t>(2, word.size()));
      fail_usage("unknown option '--{}'{}", name, suggestion(name, options, "--"));
    }
  }
  store(parsed, options, "--", values);
}

/// Number of the first line whose key (the text before '=') or whole content is `text`; 0 if there is none.
int line_of(const std::string& content, const std::string& text) {
  std::istringstream lines(content);
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    const auto strip = [](std::string_view part) {
      const auto first = part.find_first_not_of(" \t\r");
      return first == part.npos ? part.substr(0, 0)
                                : part.substr(first, part.find_last_not_of(" \t\r") - first + 1);
    };
    const std::string_view bare = strip(std::string_view(line).substr(0, line.find('#')));
    if (bare == text || strip(bare.substr(0, bare.find('='))) == text) return number;
  }
  return 0;
}

/// A JSON scalar as the text that the command line would hold.
std::string scalar_text(const std::string& key, const nlohmann::json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number() || value.is_boolean()) return value.dump();
  fail_usage("option '{}': expected a string, a number, true or false, or a list of these; found {}", key,
             value.type_name());
}

po::parsed_options parse_json(const std::string& content, const po::options_description& options) {
  nlohmann::json object;
  try {
    object = nlohmann::json::parse(content);
  } catch (const nlohmann::json::exception& error) {
    const std::string text = error.what();  // "[json.exception.parse_error.101] parse error at line 2, …"
    fail_usage("{}", text.substr(text.find(' ') + 1));
  }
  if (!object.is_object()) fail_usage("expected one JSON object, found {}", object.type_name());
  po::parsed_options parsed(&options);
  for (const auto& [key, value] : object.items()) {
    po::option option;
    option.string_key = key;
    option.unregistered = options.find_nothrow(key, false) == nullptr;
    if (value.is_array()) {
      for (const auto& element : value) option.value.push_back(scalar_text(key, element));
    } else {
      option.value.push_back(scalar_text(key, value));
    }
    parsed.options.push_back(std::move(option));
  }
  return parsed;
}

po::parsed_options parse_key_values(const std::string& content, const po::options_description& options) {
  std::istringstream stream(content);
  try {
    return po::parse_config_file(stream, options, true);
  } catch (const po::invalid_config_file_syntax& error) {
    fail_usage("line {}: '{}' is not of the form 'key = value'", line_of(content, error.tokens()),
               error.tokens());
  }
}

void store_config_content(const std::string& content, bool json, const po::options_description& options,
                          po::variables_map& values) {
  const po::parsed_options parsed = json ? parse_json(content, options) : parse_key_values(content, options);
  for (const po::option& option : parsed.options) {
    if (!option.unregistered) continue;
    const int line = json ? 0 : line_of(content, option.string_key);
    const std::string place = line > 0 ? fmt::format("line {}: ", line) : "";
    fail_usage("{}unknown option '{}'{}", place, option.string_key,
               suggestion(option.string_key, options, ""));
  }
  store(parsed, options, "", values);
}

void store_config(const std::string& path, const po::options_description& options,
                  po::variables_map& values) {
  std::string content;
  if (std::ifstream file(path, std::ios::binary); file && !std::filesystem::is_directory(path)) {
    content.assign(std::istreambuf_iterator<char>(file), {});
  } else {
    fail_usage("--config: cannot read '{}'", path);
  }
  try {
    store_config_content(content, path.ends_with(".json"), options, values);
  } catch (const std::exception& error) {
    // Boost's, the JSON parser's and our own messages alike lack the file's name.
    fail_usage("{}: {}", path, error.what());
  }
}

/// Boost's list of options without the blank lines that nested groups leave, and without the name of a group
/// that holds nothing but groups.
std::string option_list(const po::options_description& options) {
  std::ostringstream printed;
  printed << options;
  std::istringstream lines(printed.str());
  std::string list, line, caption;
  while (std::getline(lines, line)) {
    if (line.empty()) {
      caption.clear();
    } else if (line.ends_with(':') && line.front() != ' ') {
      caption = "\n" + line + "\n";
    } else {
      list += caption + line + "\n";
      caption.clear();
    }
  }
  return list;
}

void print_help(const std::string& usage, const std::string& description,
                const po::options_description& options) {
  const std::size_t end = description.find_last_not_of('\n') + 1;
  std::cout << "Usage: " << usage << "\n\n"
            << description.substr(0, end) << "\n"
            << option_list(options)
            << "\nA value in (=...) is the default. A flag beats the same key in the --config file.\n";
}

}  // namespace

std::optional<po::variables_map> parse_options(const CommandContext& context, const std::string& usage,
                                               const std::string& description,
                                               const po::options_description& options,
                                               const std::string& positional) {
  po::options_description general("General");
  general.add_options()(
      "config", po::value<std::string>()->value_name("FILE"),
      "read options from FILE: lines 'key = value' ('#' begins a comment), or a flat object if it "
      "ends in .json; keys are the names of the options without the dashes");
  general.add_options()("help", "print this and exit");
  po::options_description all;
  all.add(options).add(general);

  const auto asks_for_help = [](const std::string& word) { return word == "--help" || word == "-h"; };
  if (std::ranges::any_of(context.arguments, asks_for_help)) {
    if (is_root(context)) print_help(usage, description, all);
    return std::nullopt;
  }
  po::variables_map values;
  try {
    store_command_line(context.arguments, all, positional, values);
  } catch (const po::error& error) {
    fail_usage("{}", error.what());
  }
  if (values.count("config") != 0) store_config(values["config"].as<std::string>(), options, values);
  return values;
}

std::string required_option(const po::variables_map& values, const std::string& name) {
  if (values.count(name) == 0) fail_usage("the option --{} is required", name);
  std::string value = values[name].as<std::string>();
  if (value.empty()) fail_usage("the option --{} must not be empty", name);
  return value;
}

bool is_given(const po::variables_map& values, const std::string& name) {
  return values.count(name) != 0 && !values[name].defaulted();
}

void add_device_options(po::options_description& options, DeviceOptions& device) {
  const auto name_into = [](std::string& field) {
    return po::value<std::string>(&field)->default_value(field)->value_name("NAME");
  };
  options.add_options()("device", name_into(device.device),
                        "auto (a GPU where every rank has one), cpu or cuda")(
      "precision", name_into(device.precision),
      "auto, bf16 (GPU only), float, or double to verify with (CPU only)")(
      "communicator", name_into(device.communicator),
      "between GPUs: auto, nccl, or mpi by way of the host, which also lets ranks share a GPU")(
      "timeout",
      po::value<double>(&device.timeout)
          ->default_value(device.timeout, fmt::format("{}", device.timeout))
          ->value_name("X"),
      "seconds that a collective may take, in training or between GPUs, before the job is ended");
}

bool is_root(const CommandContext& context) {
  return context.communicator.rank() == 0;
}

}  // namespace toller
