// print_batches STORE SPLIT SEED BATCH STEPS: the ids of the queries and documents of the first steps of a run
// with one positive a query, a JSON object a line. For tests/reference/finetuning_reference.py.
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "data/batch_plan.h"
#include "error.h"

namespace toller {
namespace {

void print_batches(const TokenStore& store, const Split& split, const BatchPlanOptions& options,
                   std::int64_t steps) {
  BatchPlan plan(store, split, options);
  for (std::int64_t step = 0; step < steps; ++step) {
    const GlobalBatch batch = plan.batch(step);
    nlohmann::json line{{"queries", nlohmann::json::array()}, {"documents", nlohmann::json::array()}};
    for (const std::int32_t row : batch.queries) line["queries"].push_back(store.queries.ids[row]);
    for (const std::int32_t row : batch.documents) line["documents"].push_back(store.documents.ids[row]);
    std::puts(line.dump().c_str());
  }
}

}  // namespace
}  // namespace toller

int main(int argc, char** argv) {
  try {
    if (argc != 6) throw toller::Error("usage: print_batches STORE SPLIT SEED BATCH STEPS");
    const toller::TokenStore store = toller::read_token_store(argv[1]);
    toller::print_batches(store, store.split(argv[2]),
                          {.seed = std::stoull(argv[3]), .global_batch = std::stoll(argv[4])},
                          std::stoll(argv[5]));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "print_batches: %s\n", error.what());
    return 1;
  }
}
