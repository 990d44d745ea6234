#include "cuda/shared_library.h"

#include <dlfcn.h>
#include <fmt/ranges.h>

#include <cstdlib>

#include "error.h"

namespace toller {
namespace {

/// The value of an environment variable; null when it is empty too.
const char* setting(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

/// On the loader's path first, then in the CUDA folders.
std::vector<std::string> places(const std::vector<std::string>& files) {
  std::vector<std::string> folders, all = files;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* folder = setting(variable)) folders.emplace_back(folder);
  }
  folders.emplace_back("/usr/local/cuda");
  for (const std::string& folder : folders) {
    for (const char* part : {"lib64", "lib"}) {
      for (const std::string& file : files) all.push_back(fmt::format("{}/{}/{}", folder, part, file));
    }
  }
  return all;
}

}  // namespace

SharedLibrary::SharedLibrary(const SharedLibraryNames& names) : variable_(names.variable) {
  const char* named = setting(names.variable);
  const auto candidates = named != nullptr ? std::vector<std::string>{named} : places(names.files);
  for (const std::string& candidate : candidates) {
    file_ = candidate;
    library_ = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ != nullptr) return;
  }
  if (named != nullptr) fail("{} was not found where {} says: {}", names.title, variable_, dlerror());
  fail("{} was not found (looked for {}): {}, or set {} to its file", names.title,
       fmt::join(candidates, ", "), names.advice, variable_);
}

void* SharedLibrary::symbol(const char* name) const {
  void* found = dlsym(library_, name);
  if (found == nullptr) {
    fail("{} has no function {}: install a newer version, or set {} to one", file_, name, variable_);
  }
  return found;
}

}  // namespace toller
