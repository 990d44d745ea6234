// Files that a subcommand writes its results to.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/command.h"
#include "data/text_file.h"

namespace toller {

/// The file of an option, opened before the work begins: what cannot be written fails at once. Null: not
/// given.
inline std::unique_ptr<AtomicFileWriter> open_output(const boost::program_options::variables_map& values,
                                                     const std::string& name) {
  if (values.count(name) == 0) return nullptr;
  return std::make_unique<AtomicFileWriter>(required_option(values, name));
}

inline void write_text(std::unique_ptr<AtomicFileWriter> file, const std::string& text) {
  if (!file) return;
  file->write(text);
  file->commit();
}

inline void write_json(std::unique_ptr<AtomicFileWriter> file, const nlohmann::ordered_json& json) {
  if (file) write_text(std::move(file), json.dump(2) + '\n');
}

}  // namespace toller
