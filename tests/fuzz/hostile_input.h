// What reads files that anybody may have made: given any bytes, it succeeds or throws Error, and nothing
// else. The fuzzers (fuzzer.cpp) try bytes of their own making, corpus_test.cpp those that fuzzers found
// interesting.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace toller {

/// An HDF5 file: the checkpoint, with all its tensors.
bool read_as_checkpoint(std::span<const std::uint8_t> bytes);
/// An HDF5 file: the token store.
bool read_as_store(std::span<const std::uint8_t> bytes);
/// The first byte says which file of a collection the others are.
bool read_as_collection(std::span<const std::uint8_t> bytes);
/// A safetensors file, with all its tensors, or (first byte odd) the index of two.
bool read_as_safetensors(std::span<const std::uint8_t> bytes);
/// The first byte says which file of a sentence-transformers folder, without its weights, the others are.
bool read_as_pretrained(std::span<const std::uint8_t> bytes);
/// A tokenizer.json, with which a text is tokenized.
bool read_as_tokenizer(std::span<const std::uint8_t> bytes);
/// The JSON texts in a checkpoint and in a run folder: the encoder's config and the options of a run.
bool read_as_config(std::span<const std::uint8_t> bytes);

}  // namespace toller
