#include "loss/catalogue.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "error.h"

namespace toller {
namespace {

constexpr const char* kListCost = "B K d + B K^2";
constexpr const char* kPairs = "pairs of texts with gold scores g";

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
    {"kl", "KL divergence of softmax(s/t) from softmax(teacher/T)",
     "scores of a teacher, two documents a query", "Hinton et al. 2015", kListCost, LossData::kTeacherScores},
    {"margin-mse", "mean over pairs y_k > y_l of the squared error of s_k - s_l against the teacher's",
     "scores of a teacher, documents of different grade a query", "Hofstaetter et al. 2020", kListCost,
     LossData::kTeacherScores},
    {"hinge",
     "mean over queries and positives p of sum_n max(0, m - s_p + s_n), n over documents and over queries",
     "positives; every other document of the batch is a negative (--negatives own: of grade 0)",
     "VSE++ 2018; semi-hard: FaceNet 2015", "10 B M d"},
    {"bpr", "mean over positives p and negatives n of a query of -log sigmoid(c (s_p - s_n))",
     "positives; every other document of the batch is a negative (--negatives own: of grade 0)",
     "Rendle et al. 2009", "10 B M d"},
    {"reverse-bpr",
     "the same with the sign reversed, -log sigmoid(c (s_n - s_p)): makes a model forget (--forget)",
     "queries with the documents that they are not to find any more", "MMRecUn 2024, by abstract",
     "10 B M d"},
    {"alignment-uniformity",
     "mean over queries and positives p of |q - p|^2, + w/2 (log mean e^(-2 |q - q'|^2) + log mean e^(-2 |d "
     "- "
     "d'|^2 + 4 [d' not of d's query]))",
     "positives; the batch's queries repel each other, and so do its documents (--uniformity)",
     "Wang & Isola 2020; CM3, arXiv 2508.01226", "6 B^2 d + 8 M^2 d"},
    {"pearson", "1 - correlation of the scores with g", kPairs, "CoDiEmb, arXiv 2508.11442", "B d",
     LossData::kScoredPairs},
    {"rank-kl", "KL divergence of softmax(s/t) from softmax(u/t), u from 1 down to 0 by the ranks of g; / B",
     kPairs, "CoDiEmb, arXiv 2508.11442", "B d + B^2", LossData::kScoredPairs},
    {"pro", "mean over pairs i of -log softmax at i of s_i max_j w_j/t and s_j w_j/t, w_j = g_i - g_j > 0",
     kPairs, "PRO, Song et al. 2024; CoDiEmb, arXiv 2508.11442", "B d + B^2", LossData::kScoredPairs},
    {"cosent", "log(1 + sum over g_i > g_j of e^((s_j - s_i)/t))", kPairs, "Su 2022", "B d + B^2",
     LossData::kScoredPairs},
};

template <class Kind>
struct NamedKind {
  const char* name;
  Kind kind;
};

constexpr NamedKind<ListLossKind> kListKinds[] = {
    {"ranknet", ListLossKind::kRankNet}, {"weighted-ranknet", ListLossKind::kWeightedRankNet},
    {"lambda", ListLossKind::kLambda},   {"listnet", ListLossKind::kListNet},
    {"listmle", ListLossKind::kListMle}, {"pg-rank", ListLossKind::kPgRank},
    {"irpo", ListLossKind::kIrpo},       {"kl", ListLossKind::kKl},
    {"bpr", ListLossKind::kBpr},         {"margin-mse", ListLossKind::kMarginMse},
    {"hinge", ListLossKind::kHinge},     {"reverse-bpr", ListLossKind::kReverseBpr}};

constexpr NamedKind<PairLossKind> kPairKinds[] = {
    {"hinge", PairLossKind::kHinge}, {"bpr", PairLossKind::kBpr}, {"reverse-bpr", PairLossKind::kReverseBpr}};

constexpr NamedKind<SimilarityKind> kSimilarityKinds[] = {{"pearson", SimilarityKind::kPearson},
                                                          {"rank-kl", SimilarityKind::kRankKl},
                                                          {"pro", SimilarityKind::kPro},
                                                          {"cosent", SimilarityKind::kCosent}};

template <class Kind>
std::optional<Kind> find_kind(std::span<const NamedKind<Kind>> kinds, const std::string& name) {
  const auto found = std::ranges::find(kinds, name, &NamedKind<Kind>::name);
  if (found == kinds.end()) return std::nullopt;
  return found->kind;
}

template <class T>
std::unique_ptr<Loss<T>> make_named_loss(const std::string& name, const LossSettings& settings, Ops<T>& ops,
                                         ScoreOps<T>& score_ops) {
  if (const auto kind = find_kind<PairLossKind>(kPairKinds, name); kind && !settings.own_negatives) {
    PairLossOptions pair = settings.pair;
    pair.kind = *kind;
    if (kind != PairLossKind::kHinge && settings.list.scale > 0) pair.scale = settings.list.scale;
    return make_pair_loss<T>(ops, score_ops, pair);
  }
  if (const auto kind = find_kind<ListLossKind>(kListKinds, name)) {
    ListLossOptions list = settings.list;
    list.kind = *kind;
    return make_list_loss<T>(ops, score_ops, list);
  }
  if (const auto kind = find_kind<SimilarityKind>(kSimilarityKinds, name)) {
    return make_similarity_loss<T>(ops, score_ops, {.kind = *kind});
  }
  if (name == "mw") return make_mw<T>(ops, score_ops, settings.mw);
  if (name == "alignment-uniformity")
    return make_alignment_uniformity<T>(ops, score_ops, settings.alignment_uniformity);
  if (name == "wasserstein") return make_wasserstein<T>(ops, score_ops, {});
  return make_infonce<T>(ops, score_ops, {.symmetric = settings.symmetric});
}

}  // namespace

std::span<const LossDescription> loss_descriptions() {
  return kLosses;
}

const LossDescription& loss_description(const std::string& name) {
  return *std::ranges::find(kLosses, name,
                            [](const LossDescription& loss) { return std::string(loss.name); });
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
    losses.push_back({make_named_loss<T>(term.name, settings, ops, score_ops), term.weight});
  }
  std::unique_ptr<Loss<T>> loss = losses.size() == 1 && losses[0].weight == 1
                                      ? std::move(losses[0].loss)
                                      : make_weighted_sum<T>(ops, score_ops, std::move(losses));
  if (settings.matryoshka.dimensions.empty()) return loss;
  return make_matryoshka<T>(ops, score_ops, std::move(loss), settings.matryoshka);
}

#define TOLLER_INSTANTIATE(T)                                                                             \
  template std::unique_ptr<Loss<T>> make_loss<T>(std::span<const LossTerm>, const LossSettings&, Ops<T>&, \
                                                 ScoreOps<T>&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
