// The driver on a store made by hand, with BM25 as the scorer: its numbers must be those of its own run file.
#include "eval/evaluation.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <mutex>
#include <random>

#include "comm/thread_communicator.h"
#include "error.h"
#include "eval/run_evaluation.h"
#include "temporary_folder.h"

namespace toller {
namespace {

class EvaluationTest : public ::testing::Test {
 protected:
  EvaluationTest() {
    std::mt19937 generator(8);
    const auto text = [&](int words) {
      std::string result;
      for (int i = 0; i < words; ++i) result += fmt::format("w{} ", generator() % 60);
      return result;
    };
    for (int i = 0; i < 400; ++i) add_row(store_.documents, texts_.documents, fmt::format("d{}", i), text(8));
    for (int i = 0; i < 90; ++i) {
      // Every third query is a document and must not find itself.
      const bool own = i % 3 == 0;
      add_row(store_.queries, texts_.queries, fmt::format("{}{}", own ? "d" : "q", i),
              own ? texts_.documents[i] : text(4));
      store_.same_document.push_back(own ? i : -1);
    }
    split_.name = "test";
    for (std::int32_t query = 1; query < 90; query += 1) {
      split_.query.push_back(query);
      for (std::int32_t j = 0; j < 6; ++j) {
        split_.document.push_back((query * 31 + j * 57) % 400);
        split_.grade.push_back(j - 2);
      }
      split_.offsets.push_back(std::ssize(split_.document));
    }
  }

  static void add_row(TokenTable& table, std::vector<std::string>& texts, const std::string& id,
                      const std::string& text) {
    table.ids.push_back(id);
    table.tokens.push_back(2);
    table.offsets.push_back(std::ssize(table.tokens));
    texts.push_back(text);
  }

  Evaluation evaluate(const EvaluationOptions& options, Communicator& communicator) const {
    return evaluate_bm25(texts_, store_, split_, options, {}, communicator);
  }

  Qrels qrels() const {
    Qrels qrels;
    for (std::int64_t i = 0; i < split_.size(); ++i) {
      const std::int32_t query = split_.query[i];
      for (std::int64_t row = split_.offsets[i]; row < split_.offsets[i + 1]; ++row) {
        if (split_.document[row] == store_.same_document[query]) continue;
        qrels[store_.queries.ids[query]][store_.documents.ids[split_.document[row]]] = split_.grade[row];
      }
    }
    return qrels;
  }

  TokenStore store_;
  StoreTexts texts_;
  Split split_;
  SelfCommunicator alone_;
};

TEST_F(EvaluationTest, EqualsTheEvaluationOfItsRunFile) {
  const Evaluation evaluation = evaluate({.top_k = 100}, alone_);
  EXPECT_EQ(evaluation.queries, 89);
  EXPECT_EQ(evaluation.documents, 400);

  const TemporaryFolder folder;
  write_trec_run(to_trec_run(evaluation, store_, "bm25"), folder.path() / "run");
  const TrecRun run = read_trec_run(folder.path() / "run");
  for (const auto& [query, ranking] : run.queries) {
    for (const ScoredDocument& document : ranking) EXPECT_NE(document.id, query);
  }
  const std::pair<const char*, Metric> pairs[] = {{"ndcg@10", make_metric("ndcg_cut", 10)},
                                                  {"mrr@10", make_metric("recip_rank_cut", 10)},
                                                  {"recall@100", make_metric("recall", 100)},
                                                  {"map", make_metric("map")}};
  for (const auto& [name, metric] : pairs) {
    const double expected = evaluate_run(qrels(), run, {metric}, {}, true).averages[0];
    EXPECT_GT(expected, 0);
    EXPECT_DOUBLE_EQ(evaluation.metric(name), expected) << name;
  }
  EXPECT_THROW(evaluation.metric("recall@1000"), Error);  // deeper than top_k
}

TEST_F(EvaluationTest, JsonHoldsTheMetrics) {
  const nlohmann::ordered_json json = to_json(evaluate({}, alone_));
  for (const char* key :
       {"ndcg@10", "mrr@10", "recall@100", "recall@1000", "map", "auc", "auc_query", "auc_judged"}) {
    ASSERT_TRUE(json.contains(key)) << key;
    EXPECT_GT(json[key].get<double>(), 0);
    EXPECT_LT(json[key].get<double>(), 1);
  }
  EXPECT_EQ(json["queries"], 89);
  EXPECT_EQ(json["documents"], 400);
}

TEST_F(EvaluationTest, SamplesQueriesAndLeavesOutAuc) {
  const Evaluation evaluation = evaluate({.auc = false, .most_queries = 10}, alone_);
  EXPECT_EQ(evaluation.queries, 10);
  EXPECT_EQ(evaluation.query_rows.front(), 1);
  EXPECT_EQ(evaluation.query_rows.back(), 1 + 9 * 89 / 10);
  EXPECT_THROW(evaluation.metric("auc"), Error);
  EXPECT_EQ(evaluate({.auc = false, .most_queries = 1000}, alone_).queries, 89);
}

TEST_F(EvaluationTest, IsTheSameOnEveryRank) {
  const Evaluation expected = evaluate({}, alone_);
  run_ranks(3, [&](Communicator& communicator) {
    const Evaluation evaluation = evaluate({}, communicator);
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    ASSERT_EQ(evaluation.metrics.size(), expected.metrics.size());
    for (const auto& [name, value] : expected.metrics)
      EXPECT_DOUBLE_EQ(evaluation.metric(name), value) << name;
  });
}

TEST_F(EvaluationTest, AModelIsTheSameOnEveryRank) {
  const EncoderConfig config{.vocabulary_size = 64,
                             .hidden_size = 8,
                             .layers = 1,
                             .heads = 2,
                             .intermediate_size = 16,
                             .max_positions = 8};
  const ParameterTable table(config);
  std::vector<float> parameters(table.size());
  std::mt19937 generator(9);
  for (float& parameter : parameters) parameter = std::normal_distribution<float>(0, 0.5F)(generator);
  for (TokenTable* rows : {&store_.documents, &store_.queries}) {
    for (std::int32_t& token : rows->tokens) token = static_cast<std::int32_t>(generator() % 64);
  }
  const auto ops = make_cpu_ops<float>();
  Embedder embedder(config, table, *ops, std::as_const(parameters).data());
  const Evaluation expected = evaluate_model(embedder, store_, split_, {}, alone_);
  EXPECT_GT(expected.metric("map"), 0);
  run_ranks(3, [&](Communicator& communicator) {
    const auto own_ops = make_cpu_ops<float>();
    Embedder own(config, table, *own_ops, std::as_const(parameters).data());
    const Evaluation evaluation = evaluate_model(own, store_, split_, {}, communicator);
    static std::mutex mutex;
    const std::lock_guard lock(mutex);
    for (const auto& [name, value] : expected.metrics)
      EXPECT_NEAR(evaluation.metric(name), value, 1e-3) << name;
  });
}

TEST_F(EvaluationTest, RefusesWrongUse) {
  EXPECT_THROW(evaluate({.top_k = 99}, alone_), UsageError);
  split_ = {};
  EXPECT_THROW(evaluate({}, alone_), Error);
}

}  // namespace
}  // namespace toller
