#include "io/hdf5_output.h"

#include <fcntl.h>
#if H5_VERSION_GE(1, 14, 0)
#include <H5FDdevelop.h>
#endif

#include <algorithm>
#include <new>

namespace toller {
namespace {

/// HDF5's view of an open file: its own part first.
struct OpenFile {
  H5FD_t base;
  Hdf5Output* output;
  haddr_t allocated;  ///< HDF5's "end of allocation"
  haddr_t end;        ///< end of the file
};

const OpenFile* cast(const H5FD_t* file) {
  return reinterpret_cast<const OpenFile*>(file);
}
OpenFile* cast(H5FD_t* file) {
  return reinterpret_cast<OpenFile*>(file);
}

H5FD_t* open_file(const char*, unsigned, hid_t access, haddr_t) {
  const auto* output = static_cast<Hdf5Output* const*>(H5Pget_driver_info(access));
  if (output == nullptr) return nullptr;
  auto* file = new (std::nothrow) OpenFile{};
  if (file == nullptr) return nullptr;
  file->output = *output;
  return &file->base;
}

herr_t close_file(H5FD_t* file) {
  delete cast(file);
  return 0;
}

herr_t query(const H5FD_t*, unsigned long* flags) {
  if (flags != nullptr) {
    *flags = H5FD_FEAT_AGGREGATE_METADATA | H5FD_FEAT_AGGREGATE_SMALLDATA | H5FD_FEAT_DATA_SIEVE |
             H5FD_FEAT_DEFAULT_VFD_COMPATIBLE;
  }
  return 0;
}

haddr_t get_allocated(const H5FD_t* file, H5FD_mem_t) {
  return cast(file)->allocated;
}

herr_t set_allocated(H5FD_t* file, H5FD_mem_t, haddr_t address) {
  cast(file)->allocated = address;
  return 0;
}

haddr_t get_end(const H5FD_t* file, H5FD_mem_t) {
  return cast(file)->end;
}

herr_t read_file(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, std::size_t size, void* buffer) {
  cast(file)->output->read(static_cast<char*>(buffer), size, address);
  return 0;
}

herr_t write_file(H5FD_t* file, H5FD_mem_t, hid_t, haddr_t address, std::size_t size, const void* buffer) {
  cast(file)->output->write(static_cast<const char*>(buffer), size, address);
  cast(file)->end = std::max(cast(file)->end, address + size);
  return 0;
}

herr_t truncate_file(H5FD_t* file, hid_t, hbool_t) {
  OpenFile& open = *cast(file);
  if (open.end == open.allocated) return 0;
  open.output->truncate(open.allocated);
  open.end = open.allocated;
  return 0;
}

H5FD_class_t make_driver() {
  H5FD_class_t driver{};
#if H5_VERSION_GE(1, 14, 0)
  driver.version = H5FD_CLASS_VERSION;
  driver.value = static_cast<H5FD_class_value_t>(H5_VFD_RESERVED + 77);  // private to this process
#endif
  driver.name = "toller_output";
  driver.maxaddr = HADDR_MAX / 2;
  driver.fc_degree = H5F_CLOSE_STRONG;
  driver.fapl_size = sizeof(Hdf5Output*);
  driver.open = open_file;
  driver.close = close_file;
  driver.query = query;
  driver.get_eoa = get_allocated;
  driver.set_eoa = set_allocated;
  driver.get_eof = get_end;
  driver.read = read_file;
  driver.write = write_file;
  driver.truncate = truncate_file;
  constexpr H5FD_mem_t map[H5FD_MEM_NTYPES] = H5FD_FLMAP_DICHOTOMY;
  std::ranges::copy(map, driver.fl_map);
  return driver;
}

}  // namespace

Hdf5Output::Hdf5Output(const std::filesystem::path& path) : file_(path, O_RDWR | O_CREAT | O_TRUNC) {}

void Hdf5Output::use_in(hid_t access) {
  static const H5FD_class_t driver = make_driver();
  static const hid_t id = H5FDregister(&driver);
  const Hdf5Output* self = this;
  H5Pset_driver(access, id, &self);
}

void Hdf5Output::sync_and_close() {
  for (const int error : {file_.sync(), file_.close()}) {
    if (error_ == 0) error_ = error;
  }
}

void Hdf5Output::write(const char* bytes, std::size_t size, std::uint64_t place) {
  if (error_ == 0) error_ = file_.write(std::as_bytes(std::span(bytes, size)), place);
}

void Hdf5Output::read(char* bytes, std::size_t size, std::uint64_t place) {
  // What was allocated and not yet written is 0, and so is all else after a failure.
  std::fill_n(bytes, size, '\0');
  if (error_ == 0) error_ = file_.read(std::as_writable_bytes(std::span(bytes, size)), place);
}

void Hdf5Output::truncate(std::uint64_t size) {
  if (error_ == 0) error_ = file_.truncate(size);
}

}  // namespace toller
