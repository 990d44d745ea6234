#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.h"
#include "io/checksum.h"
#include "io/hdf5_file.h"
#include "io/hdf5_handle.h"
#include "io/hdf5_output.h"

namespace toller {
namespace {

constexpr unsigned kDeflateLevel = 6;

/// Waits until a folder's entries are on disk; 0 or errno. Some file systems cannot sync folders.
int sync_folder(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno;
  const int error = ::fsync(descriptor) != 0 && errno != EINVAL ? errno : 0;
  ::close(descriptor);
  return error;
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

void check_target(const std::filesystem::path& path) {
  std::error_code error;
  if (path.filename().empty()) fail("{}: cannot write: the name ends in '/'", path.string());
  const auto folder = std::filesystem::status(folder_of(path), error);
  if (folder.type() == std::filesystem::file_type::not_found) {
    fail("{}: cannot write: the folder {} does not exist", path.string(), folder_of(path).string());
  }
  const auto target = std::filesystem::status(path, error);
  if (std::filesystem::exists(target) && !std::filesystem::is_regular_file(target)) {
    fail("{}: cannot write: it exists and is not a regular file", path.string());
  }
}

/// Properties of a new data set: no time stamps, so that the same content gives the same bytes.
Hdf5Handle dataset_properties(const std::vector<std::int64_t>& shape, std::size_t element_bytes,
                              std::size_t elements, bool compress) {
  Hdf5Handle properties(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  H5Pset_obj_track_times(properties.get(), false);
  H5Pset_fill_time(properties.get(), H5D_FILL_TIME_NEVER);
  if (!compress || shape.empty() || elements == 0) return properties;
  std::vector<hsize_t> chunk(shape.begin(), shape.end());
  const auto row_bytes = static_cast<std::int64_t>(elements * element_bytes) / shape.front();
  chunk.front() = static_cast<hsize_t>(
      std::clamp<std::int64_t>(kCompressedBlock / std::max<std::int64_t>(1, row_bytes), 1, shape.front()));
  H5Pset_chunk(properties.get(), static_cast<int>(chunk.size()), chunk.data());
  H5Pset_shuffle(properties.get());
  H5Pset_deflate(properties.get(), kDeflateLevel);
  return properties;
}

Hdf5Handle data_space(const std::vector<std::int64_t>& shape) {
  if (shape.empty()) return {H5Screate(H5S_SCALAR), H5Sclose};
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  return {H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr), H5Sclose};
}

/// Throws Error with the bare reason. It must be asked for before any identifier is closed.
void require(bool success) {
  if (!success) throw Error(hdf5_reason());
}

/// `shape`: of an array; none: one value.
void write_attribute(hid_t object, const char* name, hid_t type, const void* value,
                     const std::vector<std::int64_t>& shape = {}) {
  const Hdf5Handle space = data_space(shape);
  Hdf5Handle attribute(H5Acreate2(object, name, type, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose);
  require(static_cast<bool>(attribute));
  require(H5Awrite(attribute.get(), type, value) >= 0);
  require(attribute.reset() >= 0);
}

/// Makes the groups on the way to a data set, without time stamps.
void create_groups(hid_t file, const std::string& name) {
  const Hdf5Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
  H5Pset_obj_track_times(creation.get(), false);
  for (std::size_t end = name.find('/', 1); end != name.npos; end = name.find('/', end + 1)) {
    const std::string group = name.substr(0, end);
    if (H5Lexists(file, group.c_str(), H5P_DEFAULT) > 0) continue;
    Hdf5Handle made(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, creation.get(), H5P_DEFAULT), H5Gclose);
    require(static_cast<bool>(made));
    require(made.reset() >= 0);
  }
}

/// A data set of `elements` elements, and the groups on the way to it.
Hdf5Handle create_dataset(hid_t file, const std::string& name, ElementType type, std::size_t elements,
                          const std::vector<std::int64_t>& shape, bool compress) {
  const Hdf5Handle space = data_space(shape);
  const Hdf5Handle properties = dataset_properties(shape, element_size(type), elements, compress);
  create_groups(file, name);
  Hdf5Handle dataset(H5Dcreate2(file, name.c_str(), hdf5_type(type), space.get(), H5P_DEFAULT,
                                properties.get(), H5P_DEFAULT),
                     H5Dclose);
  require(static_cast<bool>(dataset));
  return dataset;
}

/// Adds the checksum and closes.
void finish_dataset(Hdf5Handle& dataset, std::uint64_t checksum) {
  write_attribute(dataset.get(), kChecksumAttribute, H5T_STD_U64LE, &checksum);
  require(dataset.reset() >= 0);
}

void write_dataset(hid_t file, const std::string& name, ElementType type, const void* data, std::size_t bytes,
                   const std::vector<std::int64_t>& shape, bool compress) {
  Hdf5Handle dataset = create_dataset(file, name, type, bytes / element_size(type), shape, compress);
  if (bytes > 0) {
    require(H5Dwrite(dataset.get(), hdf5_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
  }
  finish_dataset(dataset, checksum_of({static_cast<const std::byte*>(data), bytes}));
}

/// Makes HDF5 take space for a data set: by its first value, as HDF5 would be told in the file to take it
/// earlier, and that file would not be write()'s.
void allocate(hid_t dataset, ElementType type, std::size_t axes) {
  const std::vector<hsize_t> first(axes, 0), one(axes, 1);
  const Hdf5Handle stored(H5Dget_space(dataset), H5Sclose);
  const Hdf5Handle memory(H5Screate(H5S_SCALAR), H5Sclose);
  const std::uint64_t zero = 0;
  require(H5Sselect_hyperslab(stored.get(), H5S_SELECT_SET, first.data(), nullptr, one.data(), nullptr) >= 0);
  require(H5Dwrite(dataset, hdf5_type(type), memory.get(), stored.get(), H5P_DEFAULT, &zero) >= 0);
}

/// Makes the attributes of checksums that are not known yet.
void reserve_checksums(hid_t dataset, const std::vector<std::int64_t>& rows) {
  const auto bounds = static_cast<std::int64_t>(rows.size());
  if (bounds <= 2) {
    const std::uint64_t zero = 0;
    return write_attribute(dataset, kChecksumAttribute, H5T_STD_U64LE, &zero);
  }
  const std::vector<std::uint64_t> zeros(rows.size() - 1, 0);
  write_attribute(dataset, kChecksumAttribute, H5T_STD_U64LE, zeros.data(), {bounds - 1});
  write_attribute(dataset, kChecksumRowsAttribute, H5T_STD_I64LE, rows.data(), {bounds});
}

bool lead_to(const std::vector<std::int64_t>& bounds, std::int64_t end) {
  return bounds.size() > 1 && bounds.front() == 0 && bounds.back() == end &&
         std::ranges::adjacent_find(bounds, std::greater_equal<>()) == bounds.end();
}

/// Product of a shape, or −1 where there is none.
std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(elements, extent, &elements)) return -1;
  }
  return elements;
}

}  // namespace

/// A data set that grows by append().
struct Hdf5Writer::Unfinished {
  explicit Unfinished(Hdf5Handle opened) : dataset(std::move(opened)) {}

  std::string name;
  ElementType type = ElementType::kOther;
  std::vector<std::int64_t> shape;
  std::int64_t elements = 0;
  std::int64_t written = 0;
  Hdf5Handle dataset;
  Checksum sum;
};

Hdf5Writer::Hdf5Writer(const std::filesystem::path& path) : path_(path) {
  start_hdf5();
  check_target(path);
  temporary_ = path;
  temporary_.replace_filename(fmt::format(".{}.tmp-{}", path.filename().string(), ::getpid()));
  guard("", [&] {
    output_ = std::make_unique<Hdf5Output>(temporary_);
    const Hdf5Handle access = file_access();
    output_->use_in(access.get());
    const Hdf5Handle creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    H5Pset_obj_track_times(creation.get(), false);
    file_ = H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, creation.get(), access.get());
    require(file_ >= 0);
  });
}

Hdf5Writer::~Hdf5Writer() {
  abandon();
}

void Hdf5Writer::abandon() noexcept {
  unfinished_.reset();
  if (file_ >= 0) H5Fclose(std::exchange(file_, -1));
  if (output_ == nullptr) return;
  output_.reset();
  ::unlink(temporary_.c_str());
}

void Hdf5Writer::guard(const std::string& what, const std::function<void()>& action) {
  std::string reason;
  try {
    action();
  } catch (const std::exception& error) {
    reason = error.what();
  }
  if (output_ != nullptr && output_->error() != 0) reason = std::strerror(output_->error());
  if (reason.empty()) return;
  abandon();
  fail("{}: cannot write{}: {}", path_.string(), what, reason);
}

void Hdf5Writer::check_open() const {
  if (file_ < 0) fail("{}: cannot write: the file was committed or given up", path_.string());
  if (unfinished_) {
    fail("{}: data set {}: only {} of {} values were written", path_.string(), unfinished_->name,
         unfinished_->written, unfinished_->elements);
  }
}

template <class T>
void Hdf5Writer::write(const std::string& name, std::span<const T> data,
                       const std::vector<std::int64_t>& shape, bool compress) {
  check_open();
  if (product(shape) != static_cast<std::int64_t>(data.size())) {
    fail("{}: data set {}: {} values for shape {}", path_.string(), name, data.size(), shape_text(shape));
  }
  guard(" data set " + name, [&] {
    write_dataset(file_, name, Hdf5Element<T>::type, data.data(), data.size_bytes(), shape, compress);
  });
}

void Hdf5Writer::write_string(const std::string& name, std::string_view bytes, bool compress) {
  const std::span<const std::uint8_t> data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  write(name, data, {static_cast<std::int64_t>(bytes.size())}, compress);
}

void Hdf5Writer::begin(const std::string& name, ElementType type, const std::vector<std::int64_t>& shape,
                       bool compress) {
  check_open();
  const std::int64_t elements = product(shape);
  if (elements <= 0 || element_size(type) == 0) {
    fail("{}: data set {}: cannot be written in pieces", path_.string(), name);
  }
  guard(" data set " + name, [&] {
    unfinished_ = std::make_unique<Unfinished>(
        create_dataset(file_, name, type, static_cast<std::size_t>(elements), shape, compress));
  });
  unfinished_->name = name;
  unfinished_->type = type;
  unfinished_->shape = shape;
  unfinished_->elements = elements;
}

template <class T>
void Hdf5Writer::append(std::span<const T> rows) {
  append_bytes(Hdf5Element<T>::type, std::as_bytes(rows));
}

void Hdf5Writer::append_bytes(ElementType type, std::span<const std::byte> bytes) {
  if (!unfinished_) fail("{}: append() without begin()", path_.string());
  Unfinished& open = *unfinished_;
  const auto count = static_cast<std::int64_t>(bytes.size() / element_size(type));
  if (type != open.type || count > open.elements - open.written || count % row_elements(open.shape) != 0) {
    fail("{}: data set {}: {} more values of type {} do not fit", path_.string(), open.name, count,
         element_name(type));
  }
  if (count == 0) return;
  guard(" data set " + open.name, [&] {
    const auto size = static_cast<hsize_t>(count);
    const Hdf5Handle stored(H5Dget_space(open.dataset.get()), H5Sclose);
    const Hdf5Handle memory(H5Screate_simple(1, &size, nullptr), H5Sclose);
    require(select_rows(stored.get(), open.shape, open.written, count) >= 0);
    require(H5Dwrite(open.dataset.get(), hdf5_type(type), memory.get(), stored.get(), H5P_DEFAULT,
                     bytes.data()) >= 0);
    open.sum.update(bytes);
    open.written += count;
    if (open.written == open.elements) finish_dataset(open.dataset, open.sum.value());
  });
  if (open.written == open.elements) unfinished_.reset();
}

std::int64_t Hdf5Writer::reserve(const std::string& name, ElementType type,
                                 const std::vector<std::int64_t>& shape,
                                 const std::vector<std::int64_t>& rows) {
  check_open();
  const std::int64_t elements = product(shape);
  if (elements <= 0 || shape.empty() || element_size(type) == 0 ||
      (!rows.empty() && !lead_to(rows, shape.front()))) {
    fail("{}: data set {}: cannot reserve shape {} in runs of rows {}", path_.string(), name,
         shape_text(shape), shape_text(rows));
  }
  haddr_t place = HADDR_UNDEF;
  guard(" data set " + name, [&] {
    Hdf5Handle dataset = create_dataset(file_, name, type, static_cast<std::size_t>(elements), shape, false);
    allocate(dataset.get(), type, shape.size());
    place = H5Dget_offset(dataset.get());
    require(place != HADDR_UNDEF);
    reserve_checksums(dataset.get(), rows);
    require(dataset.reset() >= 0);
  });
  reserved_[name] = std::max<std::size_t>(2, rows.size()) - 1;
  return static_cast<std::int64_t>(place);
}

void Hdf5Writer::set_checksums(const std::string& name, const std::vector<std::uint64_t>& checksums) {
  check_open();
  const auto reserved = reserved_.find(name);
  if (reserved == reserved_.end() || reserved->second != checksums.size()) {
    fail("{}: data set {}: {} checksums were not expected", path_.string(), name, checksums.size());
  }
  guard(" data set " + name, [&] {
    Hdf5Handle dataset(H5Oopen(file_, name.c_str(), H5P_DEFAULT), H5Oclose);
    require(static_cast<bool>(dataset));
    Hdf5Handle attribute(H5Aopen(dataset.get(), kChecksumAttribute, H5P_DEFAULT), H5Aclose);
    require(static_cast<bool>(attribute));
    require(H5Awrite(attribute.get(), H5T_STD_U64LE, checksums.data()) >= 0);
    require(attribute.reset() >= 0);
    require(dataset.reset() >= 0);
  });
  reserved_.erase(reserved);
}

void Hdf5Writer::dataset_attribute_int(const std::string& dataset, const std::string& attribute,
                                       std::int64_t value) {
  check_open();
  guard(" data set " + dataset, [&] {
    Hdf5Handle object(H5Oopen(file_, dataset.c_str(), H5P_DEFAULT), H5Oclose);
    require(static_cast<bool>(object));
    write_attribute(object.get(), attribute.c_str(), H5T_STD_I64LE, &value);
    require(object.reset() >= 0);
  });
}

void Hdf5Writer::attribute_int(const std::string& name, std::int64_t value) {
  check_open();
  guard(" attribute " + name, [&] { write_attribute(file_, name.c_str(), H5T_STD_I64LE, &value); });
}

void Hdf5Writer::attribute_string(const std::string& name, const std::string& value) {
  check_open();
  guard(" attribute " + name, [&] {
    const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
    H5Tset_size(type.get(), std::max<std::size_t>(1, value.size()));
    H5Tset_strpad(type.get(), H5T_STR_NULLPAD);
    H5Tset_cset(type.get(), H5T_CSET_UTF8);
    write_attribute(file_, name.c_str(), type.get(), value.c_str());
    if (value.size() <= kMaxHeaderAttribute) return;
    const std::uint64_t checksum = checksum_of(std::as_bytes(std::span(value)));
    write_attribute(file_, fmt::format("{}.{}", name, kChecksumAttribute).c_str(), H5T_STD_U64LE, &checksum);
  });
}

void Hdf5Writer::commit() {
  check_open();
  if (!reserved_.empty()) {
    fail("{}: data set {}: its checksums are missing", path_.string(), reserved_.begin()->first);
  }
  guard("", [&] {
    require(H5Fclose(std::exchange(file_, -1)) >= 0);
    output_->sync_and_close();
  });
  guard("", [&] {
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) throw Error(std::strerror(errno));
  });
  output_.reset();
  const int error = sync_folder(folder_of(path_));
  if (error != 0) fail("{}: cannot sync its folder: {}", path_.string(), std::strerror(error));
}

template void Hdf5Writer::append<float>(std::span<const float>);
template void Hdf5Writer::append<double>(std::span<const double>);
template void Hdf5Writer::append<std::uint8_t>(std::span<const std::uint8_t>);
template void Hdf5Writer::write<float>(const std::string&, std::span<const float>,
                                       const std::vector<std::int64_t>&, bool);
template void Hdf5Writer::write<double>(const std::string&, std::span<const double>,
                                        const std::vector<std::int64_t>&, bool);
template void Hdf5Writer::write<std::int32_t>(const std::string&, std::span<const std::int32_t>,
                                              const std::vector<std::int64_t>&, bool);
template void Hdf5Writer::write<std::int64_t>(const std::string&, std::span<const std::int64_t>,
                                              const std::vector<std::int64_t>&, bool);
template void Hdf5Writer::write<std::uint8_t>(const std::string&, std::span<const std::uint8_t>,
                                              const std::vector<std::int64_t>&, bool);

}  // namespace toller
