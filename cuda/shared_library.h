// A library that is loaded when it is first used, so that the program starts where it is missing.
#pragma once

#include <string>
#include <vector>

namespace toller {

/// What is looked for, and what to say where it is not found.
struct SharedLibraryNames {
  const char* title;               ///< "NCCL"
  const char* variable;            ///< environment variable that may name the file
  std::vector<std::string> files;  ///< in order of preference
  const char* advice;              ///< "install …": continues the message
};

/// Stays loaded for the life of the process.
class SharedLibrary {
 public:
  /// Opens the file that the environment variable names, else the first of `files` that is on the loader's
  /// path or in the CUDA folder (CUDA_HOME, CUDA_PATH, /usr/local/cuda). Throws Error that says where it
  /// looked.
  explicit SharedLibrary(const SharedLibraryNames& names);

  /// Sets the pointer to the library's function; throws Error when there is none.
  template <class Function>
  void resolve(Function*& function, const char* name) const {
    function = reinterpret_cast<Function*>(symbol(name));
  }

 private:
  void* symbol(const char* name) const;

  void* library_ = nullptr;
  std::string file_, variable_;
};

}  // namespace toller
