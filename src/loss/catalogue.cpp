#include "loss/catalogue.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "error.h"

namespace toller {
namespace {

constexpr const char* kListCost = "B K d + B K^2";

constexpr LossDescription kLosses[] = {
    {"infonce", "mean over queries and positives p of -log( e^(s_p/t) / (e^(s_p/t) + sum_n e^(s_n/t)) )",
     "positives; every other document of the batch is a negative n", "van den Oord et al. 2018; DPR 2020",
     "8 B M d"},
    {"mw", "mean over all positive scores a and all negative scores b of the batch of softplus((b - a)/t)",
     "positives; every other document of the batch is a negative", "arXiv 2510.00137, by abstract",
     "8 B M d"},
    {"wasserstein",
     "squared 2-Wasserstein distance of Gaussians fitted to the rows softmax(s/t) and softmax(y)",
     "documents of different grade a query; every other document of the batch has grade 0",
     "SyCL, arXiv 2503.23239", "12 B M d + 60 B^3"},
    {"ranknet", "mean over pairs y_k > y_l of softplus(-c (s_k - s_l))",
     "documents of different grade a query", "Burges et al. 2005; E2Rank", kListCost},
    {"weighted-ranknet", "the same, a pair weighing 1 / (rank_k + rank_l)",
     "documents of different grade a query", "FIRST 2024", kListCost},
    {"lambda", "the same, weighing |2^y_k - 2^y_l| |1/log(1 + r_k) - 1/log(1 + r_l)|, r by the scores",
     "documents of different grade a query", "LiPO-lambda 2024", kListCost},
    {"listnet", "cross-entropy of softmax(s/t) with softmax(y)", "documents of different grade a query",
     "Cao et al. 2007", kListCost},
    {"listmle", "-log probability of the order by grade under Plackett-Luce with scores s/t",
     "documents of different grade a query", "Xia et al. 2008", kListCost},
    {"pg-rank", "REINFORCE on nDCG@k of rankings drawn from Plackett-Luce with scores s/t",
     "documents of different grade a query", "Neural PG-RANK 2023", "B K d + samples B K log K"},
    {"irpo", "pairwise preferences of a document over those below it, weighing 1/log(1 + rank)",
     "documents of different grade a query", "IRPO", kListCost},
    {"bpr", "mean over own positives p and own negatives n of -log sigmoid(c (s_p - s_n))",
     "a document of grade 0 and one above a query", "Rendle et al. 2009", kListCost},
    {"hinge", "mean over own positives p and own negatives n of max(0, margin - s_p + s_n)",
     "a document of grade 0 and one above a query", "Schroff et al. 2015", kListCost},
};

std::optional<ListLossKind> list_kind(const std::string& name) {
  static constexpr std::pair<const char*, ListLossKind> kKinds[] = {
      {"ranknet", ListLossKind::kRankNet}, {"weighted-ranknet", ListLossKind::kWeightedRankNet},
      {"lambda", ListLossKind::kLambda},   {"listnet", ListLossKind::kListNet},
      {"listmle", ListLossKind::kListMle}, {"pg-rank", ListLossKind::kPgRank},
      {"irpo", ListLossKind::kIrpo},       {"bpr", ListLossKind::kBpr},
      {"hinge", ListLossKind::kHinge}};
  const auto* found =
      std::ranges::find(kKinds, name, [](const auto& entry) { return std::string(entry.first); });
  if (found == std::end(kKinds)) return std::nullopt;
  return found->second;
}

}  // namespace

std::span<const LossDescription> loss_descriptions() {
  return kLosses;
}

LossTerm parse_loss_term(const std::string& text) {
  LossTerm term{text.substr(0, text.find(':')), 1};
  const bool known = std::ranges::any_of(kLosses, [&](const auto& loss) { return term.name == loss.name; });
  if (!known) {
    std::vector<std::string> names;
    for (const LossDescription& loss : kLosses) names.emplace_back(loss.name);
    fail_usage("--loss '{}' is unknown; choose {} ('toller losses' explains them)", term.name,
               fmt::join(names, ", "));
  }
  if (term.name.size() == text.size()) return term;
  const char* first = text.data() + term.name.size() + 1;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(first, last, term.weight);
  if (error != std::errc() || end != last || !std::isfinite(term.weight)) {
    fail_usage("--loss {}: '{}' is not a weight; write it as {}:2.5", text, std::string(first, last),
               term.name);
  }
  return term;
}

template <class T>
std::unique_ptr<Loss<T>> make_loss(std::span<const LossTerm> terms, const LossSettings& settings, Ops<T>& ops,
                                   ScoreOps<T>& score_ops) {
  std::vector<WeightedLoss<T>> losses;
  for (const LossTerm& term : terms) {
    ListLossOptions list = settings.list;
    if (const auto kind = list_kind(term.name)) {
      list.kind = *kind;
      losses.push_back({make_list_loss<T>(ops, score_ops, list), term.weight});
    } else if (term.name == "mw") {
      losses.push_back({make_mw<T>(ops, score_ops, settings.mw), term.weight});
    } else if (term.name == "wasserstein") {
      losses.push_back({make_wasserstein<T>(ops, score_ops, {}), term.weight});
    } else {
      losses.push_back({make_infonce<T>(ops, score_ops, {.symmetric = settings.symmetric}), term.weight});
    }
  }
  if (losses.size() == 1 && losses[0].weight == 1) return std::move(losses[0].loss);
  return make_weighted_sum<T>(ops, score_ops, std::move(losses));
}

#define TOLLER_INSTANTIATE(T)                                                                             \
  template std::unique_ptr<Loss<T>> make_loss<T>(std::span<const LossTerm>, const LossSettings&, Ops<T>&, \
                                                 ScoreOps<T>&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
