#include "cli/fusion_report.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "error.h"

namespace toller {
namespace {

/// "ties (lambda 1, density 0.2)"
std::string describe(const FusionOptions& options) {
  const nlohmann::ordered_json told = fusion_settings(options);
  std::vector<std::string> settings;
  for (const auto& [name, value] : told.items()) {
    settings.push_back(
        fmt::format("{} {}", name, value.is_string() ? value.get<std::string>() : value.dump()));
  }
  const std::string method = fusion_method_name(options.method);
  return settings.empty() ? method : fmt::format("{} ({})", method, fmt::join(settings, ", "));
}

/// "delta-guided (granularity row, alpha 2), weights 1,2,1 of 1,2,4": numbers are those of the checkpoints.
std::string describe(const FusionTrial& trial, std::size_t checkpoints) {
  std::string text = trial.method == kGreedySoup ? trial.method : describe(trial.options);
  if (!trial.options.weights.empty())
    text += fmt::format(", weights {}", fmt::join(trial.options.weights, ","));
  if (trial.members.size() == checkpoints && trial.method != kGreedySoup) return text;
  std::vector<std::size_t> numbers;
  for (const std::size_t k : trial.members) numbers.push_back(k + 1);
  return fmt::format("{} of {}", text, fmt::join(numbers, ","));
}

/// The checkpoints, then the fusions.
struct Row {
  std::string label;
  const FusionTrial& trial;
  bool is_ingredient;
  bool is_best;
};

std::vector<Row> rows_of(const FusionSearch& search, const FusionSearchTask& task) {
  std::vector<Row> rows;
  for (std::size_t k = 0; k < search.ingredients.size(); ++k) {
    rows.push_back(
        {fmt::format("{}  {}", k + 1, task.checkpoints[k].string()), search.ingredients[k], true, false});
  }
  for (std::size_t i = 0; i < search.fusions.size(); ++i) {
    const bool is_best = i == search.best;
    const std::string text = describe(search.fusions[i], task.checkpoints.size());
    rows.push_back({fmt::format("{}  {}", is_best ? '*' : ' ', text), search.fusions[i], false, is_best});
  }
  return rows;
}

nlohmann::ordered_json to_json(const FusionTrial& trial, const FusionSearchTask& task) {
  nlohmann::ordered_json json{{"checkpoints", nlohmann::ordered_json::array()}};
  for (const std::size_t k : trial.members) json["checkpoints"].push_back(task.checkpoints[k].string());
  json["method"] = trial.method.empty() ? fusion_method_name(trial.options.method) : trial.method;
  json.update(fusion_settings(trial.options));
  if (!trial.options.weights.empty()) json["weights"] = trial.options.weights;
  for (const auto& [name, value] : trial.measures) json[name] = value;
  return json;
}

std::string escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '&') {
      escaped += "&amp;";
    } else if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

/// A scale for the scores: [low, high] with round ticks.
struct Scale {
  explicit Scale(const std::vector<Row>& rows) {
    std::vector<double> scores;
    for (const Row& row : rows) {
      if (std::isfinite(row.trial.score)) scores.push_back(row.trial.score);
    }
    if (scores.empty()) return;
    const auto [least, most] = std::ranges::minmax(scores);
    const double range = std::max(most - least, 1e-4);
    const double power = std::pow(10, std::floor(std::log10(range)));
    step = range / power < 2 ? power / 5 : range / power < 5 ? power / 2 : power;
    low = std::floor(least / step) * step;
    high = std::ceil(most / step) * step;
    if (high <= low) high = low + step;
    digits = std::max(0, static_cast<int>(std::ceil(-std::log10(step) - 1e-9)));
  }
  double place(double score) const { return (score - low) / (high - low); }

  double low = 0, high = 1, step = 1;
  int digits = 0;
};

}  // namespace

void print_fusion(const FusionSummary& summary, const FusionOptions& options,
                  const std::vector<std::filesystem::path>& checkpoints, const std::filesystem::path& out) {
  fmt::print("{}: {} of {} checkpoint{}, {} parameters, step {}\n", out.string(), describe(options),
             checkpoints.size(), checkpoints.size() == 1 ? "" : "s", summary.parameters, summary.step);
  for (std::size_t k = 0; k < checkpoints.size(); ++k) {
    fmt::print("  mean weight {:.4f}  {}\n", summary.mean_weights[k], checkpoints[k].string());
  }
}

void print_search(const FusionSearch& search, const FusionSearchTask& task) {
  const std::set<std::string> metrics = {task.metric, "ndcg@10", "mrr@10", "recall@100"};
  const std::vector<Row> rows = rows_of(search, task);
  const auto size = [](const Row& row) { return row.label.size(); };
  const std::size_t width = size(*std::ranges::max_element(rows, {}, size));
  fmt::print("{:<{}}", "", width);
  for (const auto& [name, value] : search.ingredients.front().measures) {
    if (metrics.contains(name)) fmt::print("  {:>10}", name);
  }
  fmt::print("\n");
  for (const Row& row : rows) {
    fmt::print("{:<{}}", row.label, width);
    for (const auto& [name, value] : row.trial.measures) {
      if (metrics.contains(name)) fmt::print("  {:>10.4f}", value);
    }
    fmt::print("\n");
  }
  const FusionTrial& best = search.fusions[search.best];
  fmt::print("\n{}: {}\n", task.out.string(), describe(best, task.checkpoints.size()));
  const FusionTrial& alone = *std::ranges::max_element(search.ingredients, {}, &FusionTrial::score);
  if (alone.score > best.score) {
    fmt::print("no fusion is as good as {} alone\n", task.checkpoints[alone.members.front()].string());
  }
}

nlohmann::ordered_json search_json(const FusionSearch& search, const FusionSearchTask& task) {
  nlohmann::ordered_json json{{"out", task.out.string()}, {"best", search.best}};
  for (const FusionTrial& trial : search.ingredients) json["ingredients"].push_back(to_json(trial, task));
  for (const FusionTrial& trial : search.fusions) json["fusions"].push_back(to_json(trial, task));
  return json;
}

std::string search_picture(const FusionSearch& search, const FusionSearchTask& task,
                           const std::string& title) {
  constexpr double kRow = 20, kTop = 44, kPlot = 360, kLetter = 6.7, kMargin = 16;
  const std::vector<Row> rows = rows_of(search, task);
  const Scale scale(rows);
  std::size_t letters = 0;
  for (const Row& row : rows) letters = std::max(letters, row.label.size());
  const double left = 2 * kMargin + kLetter * static_cast<double>(letters);
  const double bottom = kTop + kRow * static_cast<double>(rows.size());
  const double width = left + kPlot + 80, height = bottom + 32;
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} "
      "{1:.0f}\" font-family=\"monospace\" font-size=\"11\">\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"20\" font-size=\"13\" xml:space=\"preserve\">{3}</text>\n",
      width, height, kMargin, escape(title));
  const auto ticks = std::lround((scale.high - scale.low) / scale.step);
  for (long tick = 0; tick <= ticks; ++tick) {
    const double score = scale.low + scale.step * static_cast<double>(tick);
    const double x = left + kPlot * scale.place(score);
    svg += fmt::format(
        "<path d=\"M{0:.1f} {1:.1f}V{2:.1f}\" stroke=\"#dddddd\"/><text x=\"{0:.1f}\" y=\"{3:.1f}\" "
        "text-anchor=\"middle\">{4:.{5}f}</text>\n",
        x, kTop - 8, bottom, bottom + 16, score, scale.digits);
  }
  double y = kTop;
  for (const Row& row : rows) {
    const char* colour = row.is_best ? "#d1495b" : row.is_ingredient ? "#777777" : "#2f6690";
    svg += fmt::format(
        "<text x=\"{0}\" y=\"{1:.1f}\" fill=\"{2}\" xml:space=\"preserve\">{3}</text>"
        "<text x=\"{4:.1f}\" y=\"{1:.1f}\" fill=\"{2}\">{5:.4f}</text>",
        kMargin, y + 8, colour, escape(row.label), left + kPlot + 14, row.trial.score);
    if (std::isfinite(row.trial.score)) {
      svg += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4\" fill=\"{}\"/>",
                         left + kPlot * scale.place(row.trial.score), y + 4, colour);
    }
    svg += '\n';
    y += kRow;
  }
  return svg + "</svg>\n";
}

}  // namespace toller
