// Patterns of file names that the shell left as they are.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace toller {

/// The files and folders that match a pattern, sorted: '*', '?' and '[…]' within a name, '**' for any number
/// of folders, none included (links to folders are not followed, hidden ones not entered). A word without
/// these characters, or one that names what is there, stands for itself. Error where nothing matches.
std::vector<std::filesystem::path> expand_pattern(const std::string& pattern);

}  // namespace toller
