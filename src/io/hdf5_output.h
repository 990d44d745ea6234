// Where a writer's bytes go. HDF5 cannot recover from a failed write: unwritten metadata stays in its cache,
// the file cannot be closed, and the library crashes when it is shut down (1.10, by MPI_Finalize for one).
// This file driver therefore never fails: it remembers the first error, drops what comes after it, and the
// writer asks for it after every step.
#pragma once

#include <hdf5.h>

#include <filesystem>

#include "io/raw_file.h"

namespace toller {

/// The file that is being written; HDF5 writes into it through the driver.
class Hdf5Output {
 public:
  /// Makes or empties the file; throws Error with the bare reason.
  explicit Hdf5Output(const std::filesystem::path& path);
  Hdf5Output(const Hdf5Output&) = delete;
  Hdf5Output& operator=(const Hdf5Output&) = delete;

  /// Makes file access properties use this file, whatever name H5Fcreate is given. It must outlive the HDF5
  /// file.
  void use_in(hid_t access);

  /// The first error (errno), or 0.
  int error() const { return error_; }
  /// Waits until the file is on disk and closes it.
  void sync_and_close();

  /// For the driver; failures end in error().
  void write(const char* bytes, std::size_t size, std::uint64_t place);
  void read(char* bytes, std::size_t size, std::uint64_t place);
  void truncate(std::uint64_t size);

 private:
  RawFile file_;
  int error_ = 0;
};

}  // namespace toller
