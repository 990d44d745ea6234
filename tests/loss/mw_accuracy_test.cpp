// The grid form against the exact one over random, clustered and adversarial scores, drawn by RapidCheck:
// value and gradients within 1e-6 in double and 1e-5 in float, for temperatures from 0.005 to 1.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "loss/mw_problem.h"

namespace toller {
namespace {

/// How scores lie. kOffGrid: as far from the grid's points as they can; kSeparated: positives above all
/// negatives, so that every term is small; kTight: within a tenth of the temperature.
enum class Scores { kUniform, kClustered, kEnds, kOffGrid, kSeparated, kTight, kTies };

struct Draw {
  double temperature;
  std::int64_t positives, negatives;
  Scores scores;
  unsigned seed;
};

std::vector<double> make_scores(const Draw& draw) {
  std::mt19937 generator(draw.seed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  const double step = std::exp2(std::floor(std::log2(draw.temperature / 16)));
  const double centre = 0.8 * uniform(generator);
  std::vector<double> centres;
  for (int k = 0; k < 4; ++k) centres.push_back(0.9 * uniform(generator));
  std::vector<double> scores;
  for (std::int64_t i = 0; i < draw.positives + draw.negatives; ++i) {
    const bool positive = i < draw.positives;
    double x = uniform(generator);
    switch (draw.scores) {
      case Scores::kUniform:
        break;
      case Scores::kClustered:
        x = centres[generator() % 4] + draw.temperature * x;
        break;
      case Scores::kEnds:
        x = x > 0 ? 1 : -1;
        break;
      case Scores::kOffGrid:
        x = (std::floor(x / step) + 0.5) * step;
        break;
      case Scores::kSeparated:
        x = positive ? 0.6 + 0.4 * x : -0.6 + 0.4 * x;
        break;
      case Scores::kTight:
        x = centre + 0.1 * draw.temperature * x;
        break;
      case Scores::kTies:
        x = centres[generator() % 2];
        break;
    }
    scores.push_back(std::clamp(x, -1.0, 1.0));
  }
  return scores;
}

/// The mean of |z| σ(z): ∂L/∂ log τ is a sum of terms of both signs.
double moment_size(const std::vector<double>& scores, const Draw& draw) {
  double sum = 0;
  for (std::int64_t a = 0; a < draw.positives; ++a) {
    for (std::int64_t b = draw.positives; b < draw.positives + draw.negatives; ++b) {
      const double z = (scores[b] - scores[a]) / draw.temperature;
      sum += std::abs(z) / (1 + std::exp(-z));
    }
  }
  return sum / static_cast<double>(draw.positives * draw.negatives);
}

/// Relative errors; that of ∂L/∂ log τ of what is beyond an absolute one, which remains where all z are
/// small.
struct Errors {
  double value, scores, log_temperature;
};

constexpr double kMomentError = 1e-9;

template <class T>
Errors errors_of(const Draw& draw) {
  std::vector<double> scores = make_scores(draw);
  // The very numbers that the form in T reads.
  for (double& score : scores) score = static_cast<double>(static_cast<T>(score));
  LossProblem problem = problem_of_scores(scores, draw.positives, draw.temperature);
  problem.log_temperature = static_cast<double>(static_cast<T>(problem.log_temperature));
  const LossResult exact = mw_loss<double>(problem, {.exact = true}), grid = mw_loss<T>(problem, {});
  double largest = 0;  // may be below what T can hold
  for (const double slope : exact.document) largest = std::max(largest, std::abs(slope));
  const double moment_error = std::abs(grid.log_temperature - exact.log_temperature) - kMomentError;
  return {
      relative_difference({grid.value}, {exact.value}),
      largest < std::numeric_limits<T>::min() * 1e3 ? 0 : relative_difference(grid.document, exact.document),
      moment_error <= 0 ? 0 : moment_error / moment_size(scores, draw)};
}

rc::Gen<Draw> draws() {
  return rc::gen::map(
      rc::gen::tuple(rc::gen::inRange(0, 1001), rc::gen::inRange(1, 40), rc::gen::inRange(1, 300),
                     rc::gen::inRange(0, 7), rc::gen::arbitrary<unsigned>()),
      [](const std::tuple<int, int, int, int, unsigned>& numbers) {
        const auto [temperature, positives, negatives, scores, seed] = numbers;
        return Draw{0.005 * std::pow(200.0, temperature / 1000.0), positives, negatives,
                    static_cast<Scores>(scores), seed};
      });
}

std::ostream& operator<<(std::ostream& out, const Draw& draw) {
  return out << "temperature " << draw.temperature << ", " << draw.positives << " positives, "
             << draw.negatives << " negatives, scores " << static_cast<int>(draw.scores) << ", seed "
             << draw.seed;
}

template <class T>
void check_errors(double bound) {
  const Draw draw = *draws();
  const Errors errors = errors_of<T>(draw);
  RC_LOG() << draw << ": errors " << errors.value << ", " << errors.scores << ", " << errors.log_temperature
           << "\n";
  RC_ASSERT(errors.value <= bound);
  RC_ASSERT(errors.scores <= bound);
  RC_ASSERT(errors.log_temperature <= bound);
}

RC_GTEST_PROP(MwAccuracy, OfTheGridInDouble, ()) {
  check_errors<double>(1e-9);
}

RC_GTEST_PROP(MwAccuracy, OfTheGridInFloat, ()) {
  check_errors<float>(1e-5);
}

}  // namespace
}  // namespace toller
