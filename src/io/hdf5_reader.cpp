#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

#include "error.h"
#include "io/checksum.h"
#include "io/hdf5_file.h"
#include "io/hdf5_handle.h"

namespace toller {
namespace {

/// Deflate makes 1032 bytes of one at most (zlib, "Technical details").
constexpr std::int64_t kMaxExpansion = 1100;

constexpr std::int64_t kPieceElements = std::int64_t{1} << 18;

/// A data set that was checked against the file's size.
struct OpenDataset {
  Hdf5Handle id;
  std::string label;  ///< "<file>: data set <name>", for messages
  DatasetInfo info;
};

void check_regular_file(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) fail("{}: cannot open: {}", path.string(), std::strerror(errno));
  struct stat status {};
  const int result = ::fstat(descriptor, &status);
  ::close(descriptor);
  if (result != 0) fail("{}: cannot stat: {}", path.string(), std::strerror(errno));
  if (S_ISDIR(status.st_mode)) fail("{}: is a folder, expected an HDF5 file", path.string());
  if (!S_ISREG(status.st_mode)) fail("{}: is not a regular file, expected an HDF5 file", path.string());
  if (status.st_size == 0) fail("{}: is empty, expected an HDF5 file", path.string());
}

#if H5_VERSION_GE(1, 12, 0)
using ObjectInfo = H5O_info1_t;
#else
using ObjectInfo = H5O_info_t;
#endif

/// Toller writes HDF5's structures in the form of version 1.10, with checksums. The older form has none, and
/// the library trusts what it finds there beyond the ends of its buffers (1.10.8, H5Aexists).
constexpr unsigned kLeastStructureVersion = 2;

void check_structure(const std::filesystem::path& path, const std::string& what, unsigned version) {
  if (version >= kLeastStructureVersion) return;
  fail("{}: {} is of HDF5's old form, without checksums of its structure: not written by Toller",
       path.string(), what);
}

/// Of a file that begins as HDF5's do; others are left to the library.
void check_superblock(const std::filesystem::path& path) {
  constexpr std::string_view kSignature = "\x89HDF\r\n\x1a\n";
  std::array<char, kSignature.size() + 1> head{};
  std::ifstream file(path, std::ios::binary);
  if (!file.read(head.data(), head.size()) || std::string_view(head.data(), kSignature.size()) != kSignature)
    return;
  check_structure(path, "the file", static_cast<unsigned char>(head.back()));
}

/// Whether `name` exists. Links that leave the tree of this file (soft, external) are errors: a file could
/// otherwise make us read another one.
bool find(const std::filesystem::path& path, hid_t file, const std::string& name) {
  std::size_t end = 0;
  while ((end = name.find_first_not_of('/', end)) != std::string::npos) {
    end = std::min(name.find('/', end), name.size());
    const std::string part = name.substr(0, end);
    const htri_t exists = H5Lexists(file, part.c_str(), H5P_DEFAULT);
    if (exists < 0) fail("{}: cannot look up {}: {}", path.string(), part, hdf5_reason());
    if (exists == 0) return false;
    H5L_info_t link;
    if (H5Lget_info(file, part.c_str(), &link, H5P_DEFAULT) < 0) {
      fail("{}: cannot look up {}: {}", path.string(), part, hdf5_reason());
    }
    if (link.type != H5L_TYPE_HARD) fail("{}: {} is a soft or external link", path.string(), part);
    ObjectInfo object;
    if (H5Oget_info_by_name2(file, part.c_str(), &object, H5O_INFO_HDR, H5P_DEFAULT) < 0) {
      fail("{}: cannot look up {}: {}", path.string(), part, hdf5_reason());
    }
    check_structure(path, part, object.hdr.version);
  }
  return true;
}

herr_t collect_name(hid_t, const char* name, const H5L_info_t*, void* names) {
  static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  return 0;
}

/// Bytes of the elements; Error if the product overflows.
std::int64_t checked_bytes(const OpenDataset& dataset, std::int64_t element_bytes) {
  std::int64_t bytes = element_bytes;
  for (const std::int64_t extent : dataset.info.shape) {
    if (extent < 0 || __builtin_mul_overflow(bytes, extent, &bytes)) {
      fail("{}: shape {} is impossible", dataset.label, shape_text(dataset.info.shape));
    }
  }
  return bytes;
}

void check_filters(const OpenDataset& dataset, hid_t properties) {
  const int filters = H5Pget_nfilters(properties);
  for (int index = 0; index < filters; ++index) {
    unsigned flags = 0;
    std::size_t values = 0;
    const H5Z_filter_t filter = H5Pget_filter2(properties, static_cast<unsigned>(index), &flags, &values,
                                               nullptr, 0, nullptr, nullptr);
    if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE && filter != H5Z_FILTER_FLETCHER32) {
      fail("{}: filter {} is not supported (shuffle, deflate, fletcher32 are)", dataset.label,
           static_cast<int>(filter));
    }
  }
}

/// Bytes that a chunk takes in memory.
std::int64_t chunk_bytes(const OpenDataset& dataset, hid_t properties, std::int64_t element_bytes) {
  std::vector<hsize_t> chunk(std::max<std::size_t>(1, dataset.info.shape.size()));
  const int rank = H5Pget_chunk(properties, static_cast<int>(chunk.size()), chunk.data());
  if (rank != static_cast<int>(dataset.info.shape.size())) {
    fail("{}: rank of chunks {} differs from rank {}", dataset.label, rank, dataset.info.shape.size());
  }
  std::int64_t bytes = element_bytes;
  for (const hsize_t extent : chunk) {
    if (__builtin_mul_overflow(bytes, static_cast<std::int64_t>(extent), &bytes)) {
      fail("{}: chunks are impossibly large", dataset.label);
    }
  }
  return bytes;
}

/// Compares what the shape promises with what the file can hold.
void check_storage(const OpenDataset& dataset, hid_t file) {
  const Hdf5Handle type(H5Dget_type(dataset.id.get()), H5Tclose);
  const auto element_bytes = static_cast<std::int64_t>(H5Tget_size(type.get()));
  const std::int64_t bytes = checked_bytes(dataset, std::max<std::int64_t>(1, element_bytes));
  const Hdf5Handle properties(H5Dget_create_plist(dataset.id.get()), H5Pclose);
  if (!properties) fail("{}: cannot read its layout: {}", dataset.label, hdf5_reason());
  if (H5Pget_external_count(properties.get()) != 0) fail("{}: is kept in another file", dataset.label);
  const H5D_layout_t layout = H5Pget_layout(properties.get());
  if (layout != H5D_CONTIGUOUS && layout != H5D_COMPACT && layout != H5D_CHUNKED) {
    fail("{}: its storage layout is not supported (contiguous, compact, chunked are)", dataset.label);
  }

  hsize_t file_size = 0;
  if (H5Fget_filesize(file, &file_size) < 0) fail("{}: cannot size the file", dataset.label);
  const hsize_t storage = H5Dget_storage_size(dataset.id.get());
  if (storage > file_size) {
    fail("{}: claims {} bytes of storage in a file of {}", dataset.label, storage, file_size);
  }
  std::int64_t capacity = static_cast<std::int64_t>(storage);
  std::int64_t needed = bytes;
  if (layout == H5D_CHUNKED) {
    check_filters(dataset, properties.get());
    capacity *= kMaxExpansion;
    if (bytes > 0) needed = std::max(bytes, chunk_bytes(dataset, properties.get(), element_bytes));
  }
  if (needed > capacity) {
    fail("{}: shape {} needs {} bytes, but only {} are stored", dataset.label, shape_text(dataset.info.shape),
         needed, storage);
  }
}

OpenDataset open_dataset(const std::filesystem::path& path, hid_t file, const std::string& name) {
  const std::string label = fmt::format("{}: data set {}", path.string(), name);
  if (!find(path, file, name)) fail("{}: is missing", label);
  OpenDataset dataset{{H5Oopen(file, name.c_str(), H5P_DEFAULT), H5Oclose}, label, {}};
  if (!dataset.id) fail("{}: cannot open: {}", label, hdf5_reason());
  if (H5Iget_type(dataset.id.get()) != H5I_DATASET) fail("{}: is not a data set", label);
  const Hdf5Handle type(H5Dget_type(dataset.id.get()), H5Tclose);
  const Hdf5Handle space(H5Dget_space(dataset.id.get()), H5Sclose);
  if (!type || !space) fail("{}: cannot read type and shape: {}", label, hdf5_reason());
  dataset.info.type = element_type(type.get());
  const H5S_class_t kind = H5Sget_simple_extent_type(space.get());
  if (kind != H5S_SCALAR && kind != H5S_SIMPLE) fail("{}: has no elements (null data space)", label);
  const int rank = H5Sget_simple_extent_ndims(space.get());
  if (rank < 0) fail("{}: cannot read its shape: {}", label, hdf5_reason());
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  if (rank > 0) H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr);
  dataset.info.shape.assign(extents.begin(), extents.end());
  dataset.info.elements = checked_bytes(dataset, 1);
  const htri_t has_checksum = H5Aexists(dataset.id.get(), kChecksumAttribute);
  if (has_checksum < 0) fail("{}: cannot look up its checksum: {}", label, hdf5_reason());
  dataset.info.has_checksum = has_checksum > 0;
  check_storage(dataset, file);
  return dataset;
}

/// The values of an attribute: one, or an array of at most `most`.
template <class T>
std::vector<T> read_values(const std::string& label, hid_t object, const char* name, std::int64_t most) {
  const Hdf5Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose);
  if (!attribute) fail("{}: attribute {} is missing or cannot be opened", label, name);
  const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const Hdf5Handle space(H5Aget_space(attribute.get()), H5Sclose);
  constexpr bool is_signed = std::is_signed_v<T>;
  const hid_t expected = is_signed ? H5T_STD_I64LE : H5T_STD_U64LE;
  const hssize_t count = H5Sget_simple_extent_npoints(space.get());
  const bool fits = H5Tequal(type.get(), expected) > 0 && H5Sget_simple_extent_ndims(space.get()) <= 1 &&
                    count >= 1 && count <= most;
  std::vector<T> values(fits ? static_cast<std::size_t>(count) : 0);
  if (!fits || H5Aread(attribute.get(), expected, values.data()) < 0) {
    fail("{}: attribute {} is not 1 to {} readable {}", label, name, most, is_signed ? "int64" : "uint64");
  }
  return values;
}

void check_checksum(const std::string& label, std::uint64_t found, std::uint64_t stored) {
  if (found == stored) return;
  fail("{}: checksum {:016x} differs from the stored {:016x}; the file is damaged", label, found, stored);
}

/// Follows the bytes of a data set, which come in order, and compares them with the checksums it keeps: one,
/// or one for each of several runs of rows.
class Verification {
 public:
  explicit Verification(const OpenDataset& dataset) : dataset_(dataset) {
    if (!dataset.info.has_checksum) {
      fail("{}: has no checksum (attribute {}): not written by Toller", dataset.label, kChecksumAttribute);
    }
    const DatasetInfo& info = dataset.info;
    const std::int64_t rows = info.shape.empty() ? 1 : info.shape.front();
    row_bytes_ =
        info.elements / std::max<std::int64_t>(1, rows) * static_cast<std::int64_t>(element_size(info.type));
    stored_ = read_values<std::uint64_t>(dataset.label, dataset.id.get(), kChecksumAttribute,
                                         std::max<std::int64_t>(1, std::min(rows, info.elements)));
    rows_ = stored_.size() == 1 ? std::vector<std::int64_t>{0, rows} : read_bounds(rows);
  }

  void update(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      if (at_ == rows_[run_ + 1] * row_bytes_) next_run();
      const std::int64_t left = rows_[run_ + 1] * row_bytes_ - at_;
      const std::span part = bytes.first(std::min(bytes.size(), static_cast<std::size_t>(left)));
      sum_.update(part);
      at_ += static_cast<std::int64_t>(part.size());
      bytes = bytes.subspan(part.size());
    }
  }
  /// After the last byte.
  void finish() const { check_run(); }

 private:
  std::vector<std::int64_t> read_bounds(std::int64_t rows) const {
    std::vector<std::int64_t> bounds =
        read_values<std::int64_t>(dataset_.label, dataset_.id.get(), kChecksumRowsAttribute, rows + 1);
    if (bounds.size() != stored_.size() + 1 || bounds.front() != 0 || bounds.back() != rows ||
        std::ranges::adjacent_find(bounds, std::greater_equal<>()) != bounds.end()) {
      fail("{}: attribute {} does not divide {} rows into {}", dataset_.label, kChecksumRowsAttribute, rows,
           stored_.size());
    }
    return bounds;
  }
  void check_run() const {
    const bool is_whole = stored_.size() == 1;
    check_checksum(is_whole ? dataset_.label
                            : fmt::format("{}: rows [{}, {})", dataset_.label, rows_[run_], rows_[run_ + 1]),
                   sum_.value(), stored_[run_]);
  }
  void next_run() {
    check_run();
    sum_.reset();
    ++run_;
  }

  const OpenDataset& dataset_;
  std::int64_t row_bytes_ = 0;
  std::vector<std::uint64_t> stored_;
  std::vector<std::int64_t> rows_;  ///< bounds of the runs
  std::size_t run_ = 0;
  std::int64_t at_ = 0;  ///< bytes so far
  Checksum sum_;         ///< of those of the run
};

void verify_all(const OpenDataset& dataset, std::span<const std::byte> bytes) {
  Verification verification(dataset);
  verification.update(bytes);
  verification.finish();
}

template <class T>
[[noreturn]] void fail_type(const OpenDataset& dataset) {
  fail("{}: expected {}, found {}", dataset.label, element_name(Hdf5Element<T>::type),
       element_name(dataset.info.type));
}

/// Calls read(span) with memory of the stored type, then converts between the two float types if need be.
template <class T, class Read>
void read_converted(const OpenDataset& dataset, std::span<T> out, const Read& read) {
  if (dataset.info.type == Hdf5Element<T>::type) return read(out);
  if constexpr (std::is_floating_point_v<T>) {
    using Stored = std::conditional_t<std::is_same_v<T, float>, double, float>;
    if (dataset.info.type == Hdf5Element<Stored>::type) {
      std::vector<Stored> stored(out.size());
      read(std::span<Stored>(stored));
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<T>(stored[i]);
      return;
    }
  }
  fail_type<T>(dataset);
}

/// Reads all of a data set whose size is out's, and verifies it.
template <class T>
void read_whole(const OpenDataset& dataset, std::span<T> out) {
  read_converted(dataset, out, [&]<class Stored>(std::span<Stored> stored) {
    if (!stored.empty() && H5Dread(dataset.id.get(), hdf5_type(Hdf5Element<Stored>::type), H5S_ALL, H5S_ALL,
                                   H5P_DEFAULT, stored.data()) < 0) {
      fail("{}: cannot read: {}", dataset.label, hdf5_reason());
    }
    verify_all(dataset, std::as_bytes(stored));
  });
}

/// Reads whole rows, from element `first` on; not none.
template <class T>
void read_rows(const OpenDataset& dataset, std::int64_t first, std::span<T> out) {
  const auto size = static_cast<hsize_t>(out.size());
  const Hdf5Handle stored(H5Dget_space(dataset.id.get()), H5Sclose);
  const Hdf5Handle memory(H5Screate_simple(1, &size, nullptr), H5Sclose);
  if (select_rows(stored.get(), dataset.info.shape, first, static_cast<std::int64_t>(size)) < 0 ||
      H5Dread(dataset.id.get(), hdf5_type(Hdf5Element<T>::type), memory.get(), stored.get(), H5P_DEFAULT,
              out.data()) < 0) {
    fail("{}: cannot read: {}", dataset.label, hdf5_reason());
  }
}

/// An attribute with one value; `label`: of the object that has it.
Hdf5Handle open_attribute(const std::string& label, hid_t object, const std::string& name) {
  Hdf5Handle attribute(H5Aopen(object, name.c_str(), H5P_DEFAULT), H5Aclose);
  if (!attribute) {
    const std::string reason = hdf5_reason();
    if (H5Aexists(object, name.c_str()) == 0) fail("{}: attribute {} is missing", label, name);
    fail("{}: attribute {}: cannot open: {}", label, name, reason);
  }
  const Hdf5Handle space(H5Aget_space(attribute.get()), H5Sclose);
  if (H5Sget_simple_extent_npoints(space.get()) != 1) {
    fail("{}: attribute {}: expected one value", label, name);
  }
  return attribute;
}

std::int64_t read_int(const std::string& label, hid_t object, const std::string& name) {
  const Hdf5Handle attribute = open_attribute(label, object, name);
  const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose);
  if (H5Tget_class(type.get()) != H5T_INTEGER) fail("{}: attribute {}: expected an integer", label, name);
  std::int64_t value = 0;
  if (H5Aread(attribute.get(), H5T_NATIVE_INT64, &value) < 0) {
    fail("{}: attribute {}: cannot read: {}", label, name, hdf5_reason());
  }
  return value;
}

}  // namespace

Hdf5Reader::Hdf5Reader(const std::filesystem::path& path) : path_(path) {
  start_hdf5();
  check_regular_file(path);
  check_superblock(path);
  const Hdf5Handle access = file_access();
  file_ = H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get());
  if (file_ >= 0) return;
  const std::string reason = hdf5_reason();
  if (H5Fis_hdf5(path.c_str()) == 0) fail("{}: is not an HDF5 file", path.string());
  fail("{}: is a damaged or truncated HDF5 file: {}", path.string(), reason);
}

Hdf5Reader::~Hdf5Reader() {
  if (file_ >= 0) H5Fclose(file_);
}

Hdf5Reader::Hdf5Reader(Hdf5Reader&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}

bool Hdf5Reader::has(const std::string& name) const {
  return find(path_, file_, name);
}

bool Hdf5Reader::is_group(const std::string& name) const {
  if (!find(path_, file_, name)) return false;
  const Hdf5Handle object(H5Oopen(file_, name.c_str(), H5P_DEFAULT), H5Oclose);
  if (!object) fail("{}: cannot open {}: {}", path_.string(), name, hdf5_reason());
  return H5Iget_type(object.get()) == H5I_GROUP;
}

std::vector<std::string> Hdf5Reader::list(const std::string& group) const {
  const std::string name = group.empty() ? "/" : group;
  if (!find(path_, file_, name)) fail("{}: group {}: is missing", path_.string(), name);
  const Hdf5Handle id(H5Gopen2(file_, name.c_str(), H5P_DEFAULT), H5Gclose);
  if (!id) fail("{}: group {}: cannot open: {}", path_.string(), name, hdf5_reason());
  // Native order: for any other, HDF5 1.10 builds a table that it frees wrongly when the group is damaged.
  std::vector<std::string> names;
  if (H5Literate(id.get(), H5_INDEX_NAME, H5_ITER_NATIVE, nullptr, collect_name, &names) < 0) {
    fail("{}: group {}: cannot list: {}", path_.string(), name, hdf5_reason());
  }
  std::ranges::sort(names);
  return names;
}

DatasetInfo Hdf5Reader::info(const std::string& name) const {
  return open_dataset(path_, file_, name).info;
}

template <class T>
std::vector<T> Hdf5Reader::read(const std::string& name,
                                const std::vector<std::int64_t>& expected_shape) const {
  const OpenDataset dataset = open_dataset(path_, file_, name);
  if (!expected_shape.empty() && dataset.info.shape != expected_shape) {
    fail("{}: expected shape {}, found {}", dataset.label, shape_text(expected_shape),
         shape_text(dataset.info.shape));
  }
  constexpr bool is_float = std::is_floating_point_v<T>;
  const ElementType type = dataset.info.type;
  const bool stored_float = type == ElementType::kFloat32 || type == ElementType::kFloat64;
  if (type != Hdf5Element<T>::type && !(is_float && stored_float)) fail_type<T>(dataset);
  std::vector<T> out(static_cast<std::size_t>(dataset.info.elements));
  read_whole(dataset, std::span<T>(out));
  return out;
}

template <class T>
void Hdf5Reader::read_into(const std::string& name, std::span<T> out) const {
  const OpenDataset dataset = open_dataset(path_, file_, name);
  if (dataset.info.elements != static_cast<std::int64_t>(out.size())) {
    fail("{}: expected {} elements, found shape {}", dataset.label, out.size(),
         shape_text(dataset.info.shape));
  }
  read_whole(dataset, out);
}

template <class T>
void Hdf5Reader::read_slice(const std::string& name, std::int64_t first, std::span<T> out) const {
  const OpenDataset dataset = open_dataset(path_, file_, name);
  const auto count = static_cast<std::int64_t>(out.size());
  if (first < 0 || count > dataset.info.elements || first > dataset.info.elements - count) {
    fail("{}: no elements [{}, {} + {}) among {}", dataset.label, first, first, count, dataset.info.elements);
  }
  if (count == 0) return;
  const std::int64_t row = row_elements(dataset.info.shape);
  if (first % row != 0 || count % row != 0) {
    fail("{}: elements [{}, {} + {}) are no whole rows of shape {}", dataset.label, first, first, count,
         shape_text(dataset.info.shape));
  }
  read_converted(dataset, out,
                 [&]<class Stored>(std::span<Stored> stored) { read_rows(dataset, first, stored); });
}

template <class T>
void Hdf5Reader::read_in_pieces(const std::string& name,
                                const std::function<void(std::span<const T>, std::int64_t)>& take) const {
  const OpenDataset dataset = open_dataset(path_, file_, name);
  if (dataset.info.type != Hdf5Element<T>::type) fail_type<T>(dataset);
  Verification verification(dataset);
  const std::int64_t elements = dataset.info.elements;
  const std::int64_t row = std::max<std::int64_t>(1, row_elements(dataset.info.shape));
  const std::int64_t most = std::max<std::int64_t>(1, kPieceElements / row) * row;
  std::vector<T> piece(static_cast<std::size_t>(std::min(elements, most)));
  for (std::int64_t first = 0; first < elements; first += most) {
    piece.resize(static_cast<std::size_t>(std::min(most, elements - first)));
    read_rows(dataset, first, std::span<T>(piece));
    verification.update(std::as_bytes(std::span(piece)));
    take(piece, first);
  }
  verification.finish();
}

void Hdf5Reader::verify(const std::string& name) const {
  const OpenDataset dataset = open_dataset(path_, file_, name);
  const std::size_t size = element_size(dataset.info.type);
  if (size == 0) fail("{}: its element type is not one of Toller's", dataset.label);
  std::vector<std::byte> bytes(size * static_cast<std::size_t>(dataset.info.elements));
  if (!bytes.empty() && H5Dread(dataset.id.get(), hdf5_type(dataset.info.type), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                                bytes.data()) < 0) {
    fail("{}: cannot read: {}", dataset.label, hdf5_reason());
  }
  verify_all(dataset, bytes);
}

std::string Hdf5Reader::read_string(const std::string& name) const {
  const std::vector<std::uint8_t> bytes = read<std::uint8_t>(name);
  return {bytes.begin(), bytes.end()};
}

bool Hdf5Reader::has_attribute(const std::string& name) const {
  const htri_t exists = H5Aexists(file_, name.c_str());
  if (exists < 0) fail("{}: attribute {}: cannot look up: {}", path_.string(), name, hdf5_reason());
  return exists > 0;
}

std::int64_t Hdf5Reader::dataset_attribute_int(const std::string& dataset,
                                               const std::string& attribute) const {
  const OpenDataset open = open_dataset(path_, file_, dataset);
  return read_int(open.label, open.id.get(), attribute);
}

std::int64_t Hdf5Reader::attribute_int(const std::string& name) const {
  return read_int(path_.string(), file_, name);
}

std::string Hdf5Reader::attribute_string(const std::string& name) const {
  const Hdf5Handle attribute = open_attribute(path_.string(), file_, name);
  const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose);
  const std::size_t size = H5Tget_size(type.get());
  hsize_t file_size = 0;
  H5Fget_filesize(file_, &file_size);
  if (H5Tget_class(type.get()) != H5T_STRING || H5Tis_variable_str(type.get()) != 0 || size > file_size) {
    fail("{}: attribute {}: expected a string of fixed length", path_.string(), name);
  }
  std::string value(size, '\0');
  if (H5Aread(attribute.get(), type.get(), value.data()) < 0) {
    fail("{}: attribute {}: cannot read: {}", path_.string(), name, hdf5_reason());
  }
  value.resize(value.find_last_not_of('\0') + 1);
  if (size > kMaxHeaderAttribute) {
    const std::string label = fmt::format("{}: attribute {}", path_.string(), name);
    const std::string checksum = fmt::format("{}.{}", name, kChecksumAttribute);
    check_checksum(label, checksum_of(std::as_bytes(std::span(value))),
                   read_values<std::uint64_t>(label, file_, checksum.c_str(), 1).front());
  }
  return value;
}

#define TOLLER_INSTANTIATE(T)                                                                              \
  template std::vector<T> Hdf5Reader::read<T>(const std::string&, const std::vector<std::int64_t>&) const; \
  template void Hdf5Reader::read_into<T>(const std::string&, std::span<T>) const;                          \
  template void Hdf5Reader::read_slice<T>(const std::string&, std::int64_t, std::span<T>) const;           \
  template void Hdf5Reader::read_in_pieces<T>(                                                             \
      const std::string&, const std::function<void(std::span<const T>, std::int64_t)>&) const;
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
TOLLER_INSTANTIATE(std::int32_t)
TOLLER_INSTANTIATE(std::int64_t)
TOLLER_INSTANTIATE(std::uint8_t)
#undef TOLLER_INSTANTIATE

}  // namespace toller
