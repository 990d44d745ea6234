// Lengths of texts for the benchmarks on a GPU, the same ones for Toller and for PyTorch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace toller {

/// Tokens of the query and of the document of each pair.
struct TextLengths {
  std::vector<std::int32_t> query;
  std::vector<std::int32_t> document;
};

/// The file that the environment variable BENCH_LENGTHS names, else bench/lengths_32_128.json of the folder
/// that the program runs in (bench/lengths.py says how it is made).
std::string text_lengths_file();

/// Reads "query_lengths" and "document_lengths". Throws Error when they are not there, not as many of one as
/// of the other, or not in 1 … 512.
TextLengths read_text_lengths(const std::string& file);

}  // namespace toller
