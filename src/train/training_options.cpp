#include "train/training_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <sstream>
#include <type_traits>

#include "checkpoint/checkpoint_output.h"
#include "choice.h"
#include "data/batch_plan.h"
#include "error.h"
#include "json_value.h"
#include "optim/schedule.h"
#include "train/time_limit.h"

namespace toller {
namespace {

/// Calls visit(name, field) for every option: one list for writing and for reading.
template <class Options, class Visit>
void for_each_option(Options& options, Visit visit) {
  visit("data", options.data);
  visit("out", options.out);
  visit("split", options.split);
  visit("data-weights", options.data_weights);
  visit("data-alpha", options.data_alpha);
  visit("forget", options.forget);
  visit("forget-weight", options.forget_weight);
  visit("preset", options.preset);
  visit("init", options.init);
  visit("layers", options.layers);
  visit("hidden-size", options.hidden_size);
  visit("heads", options.heads);
  visit("intermediate-size", options.intermediate_size);
  visit("pooling", options.pooling);
  visit("separate-towers", options.separate_towers);
  visit("no-normalize", options.no_normalize);
  visit("dropout", options.dropout);
  visit("global-batch", options.global_batch);
  visit("micro-batch", options.micro_batch);
  visit("accumulate", options.accumulate);
  visit("positives", options.positives);
  visit("hard-negatives", options.hard_negatives);
  visit("sampling", options.sampling);
  visit("max-length", options.max_length);
  visit("loss", options.loss);
  visit("temperature", options.temperature);
  visit("learn-temperature", options.learn_temperature);
  visit("pair-temperature", options.pair_temperature);
  visit("symmetric", options.symmetric);
  visit("mw-scope", options.mw_scope);
  visit("list-scale", options.list_scale);
  visit("margin", options.margin);
  visit("teacher-temperature", options.teacher_temperature);
  visit("negatives", options.negatives);
  visit("hinge-negatives", options.hinge_negatives);
  visit("hinge-weights", options.hinge_weights);
  visit("uniformity", options.uniformity);
  visit("uniformity-weight", options.uniformity_weight);
  visit("pg-samples", options.pg_samples);
  visit("pg-cutoff", options.pg_cutoff);
  visit("matryoshka", options.matryoshka);
  visit("steps", options.steps);
  visit("epochs", options.epochs);
  visit("lr", options.lr);
  visit("schedule", options.schedule);
  visit("warmup", options.warmup);
  visit("weight-decay", options.weight_decay);
  visit("clip", options.clip);
  visit("adam-beta1", options.adam_beta1);
  visit("adam-beta2", options.adam_beta2);
  visit("adam-epsilon", options.adam_epsilon);
  visit("zero", options.zero);
  visit("seed", options.seed);
  visit("checkpoint-every", options.checkpoint_every);
  visit("keep", options.keep);
  visit("checkpoint-files", options.checkpoint_files);
  visit("verify", options.verify);
  visit("eval-every", options.eval_every);
  visit("eval-split", options.eval_split);
  visit("eval-queries", options.eval_queries);
  visit("log-every", options.log_every);
  visit("max-skipped-steps", options.max_skipped_steps);
  visit("check-ranks-every", options.check_ranks_every);
  visit("time-limit", options.time_limit);
  visit("device", options.machine.device);
  visit("precision", options.machine.precision);
  visit("communicator", options.machine.communicator);
  visit("timeout", options.machine.timeout);
  visit("threads", options.threads);
}

template <class Number>
void require_at_least(const char* flag, Number value, Number least) {
  if (value < least) fail_usage("--{} is {}, must be at least {}", flag, value, least);
}

/// Finite and in [least, most]; `above`: least itself is refused.
void require_range(const char* flag, double value, double least, double most, bool above = false) {
  if (std::isfinite(value) && value <= most && (above ? value > least : value >= least)) return;
  const char* low = above ? "above" : "at least";
  if (std::isinf(most)) fail_usage("--{} is {}, must be a number {} {}", flag, value, low, least);
  fail_usage("--{} is {}, must be a number {} {} and at most {}", flag, value, low, least, most);
}

/// "a,b" → a, b; nothing where the text is empty.
std::vector<std::string> split_list(const std::string& text) {
  std::vector<std::string> parts;
  if (text.empty()) return parts;
  std::istringstream stream(text + ',');
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

/// The numbers of a list such as "2,1". `what` says what each must be, `example` how to write them.
template <class Number>
std::vector<Number> parse_list(const char* flag, const std::string& list, const char* what,
                               const char* example) {
  std::vector<Number> numbers;
  for (const std::string& text : split_list(list)) {
    Number number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size()) {
      fail_usage("--{} {}: '{}' is not {}; write them as {}", flag, list, text, what, example);
    }
    numbers.push_back(number);
  }
  return numbers;
}

/// "1,0.5": the weights of the two directions.
std::pair<double, double> hinge_direction_weights(const std::string& text) {
  const auto weights = parse_list<double>("hinge-weights", text, "a number", "1,0.5");
  const auto is_weight = [](double weight) { return std::isfinite(weight) && weight >= 0; };
  if (weights.size() != 2 || !std::ranges::all_of(weights, is_weight) || weights[0] + weights[1] == 0) {
    fail_usage("--hinge-weights {}: give two numbers that are not negative nor both 0, as 1,0.5", text);
  }
  return {weights[0], weights[1]};
}

HingeNegatives hinge_negatives_from_name(const std::string& name) {
  using enum HingeNegatives;
  constexpr std::array<std::pair<HingeNegatives, const char*>, 3> kChoices = {
      {{kAll, "all"}, {kHardest, "hardest"}, {kSemiHard, "semi-hard"}}};
  return value_of_word("--hinge-negatives", name, kChoices);
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

void TrainingOptions::validate() const {
  require_at_least<std::int64_t>("global-batch", global_batch, 1);
  require_at_least<std::int64_t>("micro-batch", micro_batch, 0);
  require_at_least<std::int64_t>("accumulate", accumulate, 1);
  require_at_least<std::int64_t>("positives", positives, 1);
  require_at_least<std::int64_t>("hard-negatives", hard_negatives, 0);
  if (max_length != 0) require_at_least("max-length", max_length, 3);
  require_at_least<std::int64_t>("steps", steps, 0);
  require_range("epochs", epochs, 0, 1e9, true);
  require_range("lr", lr, 0, kInfinity);
  require_range("warmup", warmup, 0, 1e12);
  require_range("weight-decay", weight_decay, 0, kInfinity);
  require_range("clip", clip, 0, kInfinity);
  require_range("adam-beta1", adam_beta1, 0, 0.9999999);
  require_range("adam-beta2", adam_beta2, 0, 0.9999999);
  require_range("adam-epsilon", adam_epsilon, 0, 1, true);
  if (zero != 0 && zero != 1) fail_usage("--zero is {}; 0 (none) and 1 (optimiser state) are known", zero);
  require_range("temperature", temperature, 0.001, 100);
  require_range("pair-temperature", pair_temperature, 0.001, 100);
  require_range("dropout", dropout, 0, 0.999);
  require_at_least<std::int64_t>("checkpoint-every", checkpoint_every, 0);
  require_at_least<std::int64_t>("keep", keep, 0);
  checkpoint_layout_from_name("--checkpoint-files", checkpoint_files);
  require_at_least<std::int64_t>("eval-every", eval_every, 0);
  require_at_least<std::int64_t>("eval-queries", eval_queries, 0);
  require_at_least<std::int64_t>("log-every", log_every, 1);
  require_at_least<std::int64_t>("max-skipped-steps", max_skipped_steps, 0);
  require_at_least<std::int64_t>("check-ranks-every", check_ranks_every, 0);
  time_limit_seconds();
  require_at_least("threads", threads, 0);
  for (const auto& [flag, value] :
       {std::pair{"layers", layers}, std::pair{"hidden-size", hidden_size}, std::pair{"heads", heads},
        std::pair{"intermediate-size", intermediate_size}}) {
    require_at_least(flag, value, 0);
    if (value > 0 && !init.empty())
      fail_usage("--{} does not go with --init, whose checkpoint decides", flag);
  }
  require_choice("--mw-scope", mw_scope, {"batch", "query"});
  require_range("list-scale", list_scale, 0, kInfinity);
  require_range("margin", margin, 0, kInfinity);
  require_range("teacher-temperature", teacher_temperature, 0, kInfinity, true);
  require_range("data-alpha", data_alpha, 0, 10);
  require_range("forget-weight", forget_weight, 0, kInfinity);
  data_weight_list();
  require_choice("--negatives", negatives, {"batch", "own"});
  hinge_negatives_from_name(hinge_negatives);
  hinge_direction_weights(hinge_weights);
  require_choice("--uniformity", uniformity, {"plain", "calibrated"});
  require_range("uniformity-weight", uniformity_weight, 0, kInfinity);
  require_at_least("pg-samples", pg_samples, 2);
  require_at_least("pg-cutoff", pg_cutoff, 1);
  loss_terms();
  matryoshka_dimensions();
  machine.validate();
  sampling_from_name(sampling);
  pooling_from_name(pooling);
  decay_from_name(schedule);
}

std::vector<LossTerm> TrainingOptions::loss_terms() const {
  if (loss.empty()) fail_usage("--loss names no loss");
  std::vector<LossTerm> terms;
  for (const std::string& text : loss) terms.push_back(parse_loss_term(text));
  return terms;
}

std::vector<double> TrainingOptions::data_weight_list() const {
  return parse_list<double>("data-weights", data_weights, "a number", "2,1");
}

double TrainingOptions::time_limit_seconds() const {
  return parse_duration("time-limit", time_limit);
}

std::vector<std::int64_t> TrainingOptions::matryoshka_dimensions() const {
  const auto dimensions =
      parse_list<std::int64_t>("matryoshka", matryoshka, "a number of dimensions", "384,128,64");
  for (std::size_t i = 0; i < dimensions.size(); ++i) {
    if (dimensions[i] < 1)
      fail_usage("--matryoshka {}: {} is not a number of dimensions", matryoshka, dimensions[i]);
    if (i > 0 && dimensions[i] >= dimensions[i - 1]) {
      fail_usage("--matryoshka {}: {} does not fall below {}; give the dimensions from large to small",
                 matryoshka, dimensions[i], dimensions[i - 1]);
    }
  }
  return dimensions;
}

LossSettings TrainingOptions::loss_settings(const EncoderConfig& encoder) const {
  LossSettings settings;
  settings.symmetric = symmetric;
  settings.mw.per_query = mw_scope == "query";
  // Scores of unit vectors at one temperature need a small grid; what is not known beforehand, a large one.
  if (!encoder.normalize) {
    settings.mw.grid_points = kMwMostGridPoints / 16;
  } else if (!learn_temperature) {
    settings.mw.grid_points = mw_grid_points(temperature);
  }
  const HingeNegatives met = hinge_negatives_from_name(hinge_negatives);
  settings.list = {.scale = list_scale,
                   .margin = margin,
                   .negatives = met,
                   .teacher_temperature = teacher_temperature,
                   .samples = pg_samples,
                   .cutoff = pg_cutoff,
                   .seed = seed};
  settings.own_negatives = negatives == "own";
  const auto [query_weight, document_weight] = hinge_direction_weights(hinge_weights);
  settings.pair = {
      .margin = margin, .negatives = met, .query_weight = query_weight, .document_weight = document_weight};
  settings.alignment_uniformity = {.uniformity_weight = uniformity_weight,
                                   .calibrated = uniformity == "calibrated"};
  settings.matryoshka = {.dimensions = matryoshka_dimensions(), .normalize = encoder.normalize};
  if (!matryoshka.empty() && settings.matryoshka.dimensions.front() > encoder.hidden_size) {
    fail_usage("--matryoshka {}: the model's embeddings have {} dimensions", matryoshka, encoder.hidden_size);
  }
  return settings;
}

nlohmann::ordered_json to_json(const TrainingOptions& options) {
  nlohmann::ordered_json json;
  for_each_option(options, [&](const char* name, const auto& value) { json[name] = value; });
  return json;
}

TrainingOptions training_options_from_json(const nlohmann::json& json, const std::string& origin) {
  if (!json.is_object()) fail("{}: holds no training options: the run cannot be resumed", origin);
  TrainingOptions options;
  if (!json.contains("negatives")) options.negatives = "own";  // older runs knew no other
  for_each_option(options, [&](const char* name, auto& value) {
    if (!json.contains(name)) return;
    try {
      // Older runs hold the one loss and the one data set that there were as words.
      const nlohmann::json& given = json.at(name);
      if (std::is_same_v<std::decay_t<decltype(value)>, std::vector<std::string>> && given.is_string()) {
        value = json_value<std::decay_t<decltype(value)>>(nlohmann::json(std::vector{given}));
      } else {
        value = json_value<std::decay_t<decltype(value)>>(given);
      }
    } catch (const Error& problem) {
      fail("{}: training option {}: {}", origin, name, problem.what());
    }
  });
  return options;
}

EncoderConfig encoder_config_for(const TrainingOptions& options, std::int32_t vocabulary_size,
                                 std::int32_t max_length) {
  EncoderConfig config = preset_config(options.preset);
  config.vocabulary_size = vocabulary_size;
  if (options.layers > 0) config.layers = options.layers;
  if (options.hidden_size > 0) config.hidden_size = options.hidden_size;
  if (options.heads > 0) config.heads = options.heads;
  if (options.intermediate_size > 0) config.intermediate_size = options.intermediate_size;
  config.max_positions = std::max(config.max_positions, max_length);
  config.hidden_dropout = config.attention_dropout = options.dropout;
  config.pooling = pooling_from_name(options.pooling);
  config.normalize = !options.no_normalize;
  config.separate_towers = options.separate_towers;
  try {
    config.validate();
  } catch (const Error& problem) {
    fail_usage("{} (flags --hidden-size, --heads, --layers, --intermediate-size)", problem.what());
  }
  return config;
}

}  // namespace toller
