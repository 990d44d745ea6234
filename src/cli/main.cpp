#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <new>
#include <thread>

#include "cli/command.h"
#include "cli/suggest.h"
#include "comm/communicator.h"
#include "comm/mpi_session.h"
#include "cuda/cuda_backends.h"
#include "error.h"

namespace toller {
namespace {

constexpr std::array commands{
    Command{"wordnet", "make the sample collection from WordNet's files", run_wordnet},
    Command{"prepare", "tokenize a collection into a token store; train a tokenizer", run_prepare},
    Command{"train", "train an encoder; run it under mpirun to use several ranks", run_train},
    Command{"evaluate", "search with a model or with BM25 and measure the ranking", run_evaluate},
    Command{"encode", "write the embeddings of a store's documents or queries", run_encode},
    Command{"fuse", "combine the parameters of several checkpoints into one model", run_fuse},
    Command{"import", "make a checkpoint of a model of sentence-transformers", run_import},
    Command{"export", "make a folder that sentence-transformers loads of a checkpoint", run_export},
    Command{"losses", "list the losses to train with", run_losses},
    Command{"inspect", "say what a token store or a checkpoint holds", run_inspect},
};

void print_help() {
  std::cout << "Toller trains dense retrievers: text encoders that find documents by vector search.\n\n"
               "Usage: toller <subcommand> [--config FILE] [--key value ...]\n\nSubcommands:\n";
  for (const Command& command : commands) fmt::print("  {:<10} {}\n", command.name, command.summary);
  std::cout
      << "\nExamples:\n"
         "  toller prepare --collection data/mine --train-tokenizer 8000 --out mine.h5\n"
         "  mpirun -np 2 toller train --data mine.h5 --out runs/mine --preset tiny --epochs 3\n\n"
         "'toller <subcommand> --help' lists a subcommand's options; 'toller --version' prints the version.\n"
         "Exit status: 0 done, 1 failure at run time, 2 wrong use.\n";
}

const Command& find_command(const std::string& name) {
  const auto* found =
      std::ranges::find_if(commands, [&](const Command& command) { return name == command.name; });
  if (found != commands.end()) return *found;
  std::vector<std::string> names;
  for (const Command& command : commands) names.emplace_back(command.name);
  const std::string nearest = nearest_name(name, names);
  fail_usage("unknown subcommand '{}'{}; 'toller --help' lists them", name,
             nearest.empty() ? "" : fmt::format(" (did you mean '{}'?)", nearest));
}

int run(const std::vector<std::string>& words, MpiSession& session) {
  Communicator& communicator = session.communicator();
  const bool root = communicator.rank() == 0;
  if (words.empty()) fail_usage("a subcommand is needed; 'toller --help' lists them");
  if (words[0] == "--help" || words[0] == "-h") {
    if (root) print_help();
    return 0;
  }
  if (words[0] == "--version") {
    if (root) fmt::print("toller {}\n", TOLLER_VERSION);
    return 0;
  }
  const Command& command = find_command(words[0]);
  // A rank that waits too long in a collective, or loses its GPU, is found by another thread than the one
  // that waits.
  const auto abort = [&](const std::string& message) {
    std::fputs(fmt::format("toller {}: error: {}\n", words[0], message).c_str(), stderr);
    std::fflush(nullptr);
    session.abort(1);
    std::_Exit(1);
  };
  const auto gpus = make_cuda_backends(abort);
  CommandContext context{{words.begin() + 1, words.end()}, communicator, *gpus, abort};
  return command.run(context);
}

/// Prints why this rank failed. When all ranks fail alike (a missing file), rank 0 speaks and ends the others
/// before their turn comes; when it did not fail, the lowest rank that did is the first to speak.
void report(const std::string& command, const char* message, const Communicator& communicator) {
  std::string place;
  if (const int rank = communicator.rank(); communicator.size() > 1) {
    place = fmt::format("rank {}: ", rank);
    if (rank > 0) std::this_thread::sleep_for(std::chrono::milliseconds(300 + 20 * std::min(rank, 50)));
  }
  std::cout.flush();
  const std::string line =
      fmt::format("toller{}{}: error: {}{}\n", command.empty() ? "" : " ", command, place, message);
  std::fputs(line.c_str(), stderr);
  std::fflush(nullptr);
  // The launcher passes the message on; give it the time before the ranks are ended.
  if (communicator.size() > 1) std::this_thread::sleep_for(std::chrono::milliseconds(50));
}

/// Runs the subcommand; whatever it throws becomes a message and an exit status, for all ranks.
int run_and_report(const std::vector<std::string>& words, MpiSession& session) {
  const std::string command = words.empty() || words[0].starts_with('-') ? "" : words[0];
  int status = 1;
  try {
    status = run(words, session);
    std::cout.flush();
    if (!std::cout) fail("cannot write to standard output");
    return status;
  } catch (const UsageError& error) {
    status = 2;
    report(command, error.what(), session.communicator());
  } catch (const std::bad_alloc&) {
    report(command, "out of memory", session.communicator());
  } catch (const std::exception& error) {
    report(command, error.what(), session.communicator());
  }
  session.abort(status);
  return status;
}

}  // namespace
}  // namespace toller

int main(int argc, char** argv) {
  // A write beyond a file size limit is then an error like a full disk's, and is reported and cleaned up
  // after.
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    toller::MpiSession session(argc, argv);
    return toller::run_and_report({argv + 1, argv + argc}, session);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "toller: error: %s\n", error.what());
    return 1;
  }
}
