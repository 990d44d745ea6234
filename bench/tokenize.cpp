// Tokenizes texts on one thread and says how long that took: the counterpart of bench/compare_tokenizers.py.
//   bench_tokenize TOKENIZER MAX_LENGTH ROUNDS COPY < TEXTS > TOKENS
// COPY: where to write the tokenizer as stores and checkpoints hold it.
// TEXTS: one after the other, each as its length in bytes (int32) and the bytes. TOKENS: the seconds of every
// round (float64), then for each text the number of its tokens and the tokens (int32).
#include <fmt/core.h>

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <string>
#include <vector>

#include "error.h"
#include "text/tokenizer.h"

namespace toller {
namespace {

std::vector<std::string> read_texts() {
  std::vector<std::string> texts;
  for (std::int32_t size; std::cin.read(reinterpret_cast<char*>(&size), sizeof size);) {
    std::string text(static_cast<std::size_t>(size), '\0');
    if (!std::cin.read(text.data(), size)) fail("the last text ends early");
    texts.push_back(std::move(text));
  }
  return texts;
}

template <class T>
void write(const T* values, std::size_t count) {
  std::cout.write(reinterpret_cast<const char*>(values), static_cast<std::streamsize>(count * sizeof(T)));
}

void run(const std::string& path, std::int32_t max_length, int rounds, const std::string& copy) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  if (!(std::ofstream(copy, std::ios::binary) << tokenizer.bytes())) fail("{}: cannot be written", copy);
  const std::vector<std::string> texts = read_texts();
  std::vector<std::vector<std::int32_t>> tokens(texts.size());
  for (int round = 0; round < rounds; ++round) {
    const auto start = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < texts.size(); ++i) tokens[i] = tokenizer.encode(texts[i], max_length);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    write(&seconds, 1);
  }
  for (const auto& row : tokens) {
    const auto size = static_cast<std::int32_t>(row.size());
    write(&size, 1);
    write(row.data(), row.size());
  }
}

}  // namespace
}  // namespace toller

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: bench_tokenize TOKENIZER MAX_LENGTH ROUNDS COPY < TEXTS > TOKENS\n";
    return 2;
  }
  try {
    toller::run(argv[1], std::stoi(argv[2]), std::stoi(argv[3]), argv[4]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
