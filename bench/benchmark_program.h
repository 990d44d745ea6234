// What the benchmark programs for a GPU do alike. Benchmarks take the time themselves; what they throw is
// reported as their error, or ends the program where it was thrown before them.
#pragma once

#include <benchmark/benchmark.h>

#include <cstdio>
#include <exception>
#include <string>

namespace toller {

/// body(state) under that name.
template <class Body>
benchmark::internal::Benchmark* add_benchmark(const std::string& name, Body body) {
  return benchmark::RegisterBenchmark(name.c_str(),
                                      [body](benchmark::State& state) {
                                        try {
                                          body(state);
                                        } catch (const std::exception& problem) {
                                          state.SkipWithError(problem.what());
                                        }
                                      })
      ->UseManualTime();
}

/// main(): prepare() adds the benchmarks. `is_trial`: sizes are small, and times mean nothing.
template <class Prepare>
int run_benchmarks(const char* program, int argc, char** argv, bool is_trial, Prepare prepare) {
  try {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::AddCustomContext("trial", is_trial ? "true" : "false");
    prepare();
    benchmark::RunSpecifiedBenchmarks();
    benchmark::Shutdown();
    return 0;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "%s: %s\n", program, problem.what());
    return 1;
  }
}

}  // namespace toller
