// Losses by name.
#include "loss/catalogue.h"

#include <gtest/gtest.h>

#include "loss/list_problem.h"
#include "loss/pair_problem.h"

namespace toller {
namespace {

LossResult named_loss(const LossProblem& problem, const std::string& name, const LossSettings& settings) {
  return loss_of<double>(problem, [&](Ops<double>& ops, ScoreOps<double>& score_ops) {
    const std::vector<LossTerm> terms{parse_loss_term(name)};
    return make_loss<double>(terms, settings, ops, score_ops);
  });
}

TEST(Catalogue, EveryNameMakesALoss) {
  LossProblem problem = problem_with_own_documents(6, 4);
  std::vector<std::vector<std::int32_t>> grades;
  for (int i = 0; i < 6; ++i) {
    auto& own = grades.emplace_back();
    for (int k = 0; k <= i % 3; ++k) own.push_back(1 + k);
    if (i % 2 == 1) own.push_back(0);
  }
  set_own_grades(problem, grades);
  LossProblem scored_pairs = problem_with_own_documents(6, 4);
  set_own_grades(scored_pairs, std::vector<std::vector<std::int32_t>>(6, {0}));
  for (LossProblem* given : {&problem, &scored_pairs}) {
    for (std::int64_t column = 0; column < given->candidates; ++column) {
      given->teacher.push_back(static_cast<float>(column % 4) / 2);
    }
  }
  for (const LossDescription& loss : loss_descriptions()) {
    for (const bool own : {false, true}) {
      SCOPED_TRACE(loss.name);
      LossSettings settings;
      settings.own_negatives = own;
      const LossProblem& fitting = loss.data == LossData::kScoredPairs ? scored_pairs : problem;
      expect_finite(named_loss(fitting, loss.name, settings));
    }
  }
}

TEST(Catalogue, PairsMeetTheNegativesThatAreAskedFor) {
  LossProblem problem = problem_with_own_documents(2, 4);
  problem.excluded = {{}, {}};
  set_own_grades(problem, {{1}, {1, 1, 0}});
  LossSettings settings;
  settings.list.scale = 3;
  settings.pair.document_weight = 0.5;
  const std::pair<const char*, PairLossKind> batch[] = {{"hinge", PairLossKind::kHinge},
                                                        {"bpr", PairLossKind::kBpr},
                                                        {"reverse-bpr", PairLossKind::kReverseBpr}};
  for (const auto& [name, kind] : batch) {
    const PairLossOptions options{
        .kind = kind, .scale = kind == PairLossKind::kHinge ? 1.0 : 3.0, .document_weight = 0.5};
    expect_equal(named_loss(problem, name, settings), pair_loss<double>(problem, options), 1e-15);
  }
  settings.own_negatives = true;
  const std::pair<const char*, ListLossKind> own[] = {{"hinge", ListLossKind::kHinge},
                                                      {"bpr", ListLossKind::kBpr},
                                                      {"reverse-bpr", ListLossKind::kReverseBpr}};
  for (const auto& [name, kind] : own) {
    expect_equal(named_loss(problem, name, settings),
                 loss_of<double>(problem, with_options(make_list_loss<double>, {.kind = kind, .scale = 3})),
                 1e-15);
  }
}

TEST(Catalogue, MatryoshkaWrapsTheSum) {
  const LossProblem problem = problem_with_own_documents(6, 4);
  LossSettings settings;
  settings.matryoshka = {{4, 2}, true};
  const double both = named_loss(problem, "bpr:2", settings).value;
  settings.matryoshka.dimensions = {4};
  const double full = named_loss(problem, "bpr:2", settings).value;
  settings.matryoshka.dimensions = {2};
  EXPECT_NEAR(both, full + named_loss(problem, "bpr:2", settings).value, 1e-14);
}

}  // namespace
}  // namespace toller
