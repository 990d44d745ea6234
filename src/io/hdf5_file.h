// HDF5 files that can be trusted: every data set carries a checksum, every read checks type, shape and size
// before it allocates, and a new file appears under its name only when it is whole and on disk. HDF5 is not
// thread-safe: one thread of a process at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace toller {

class Hdf5Output;

/// Element types that Toller writes.
enum class ElementType { kFloat32, kFloat64, kInt32, kInt64, kUint8, kOther };

/// Bytes of a compressed data set that are compressed at a time.
inline constexpr std::int64_t kCompressedBlock = std::int64_t{1} << 20;

/// "float32" and the like.
const char* element_name(ElementType type);

struct DatasetInfo {
  ElementType type = ElementType::kOther;
  std::vector<std::int64_t> shape;  ///< empty for a scalar
  std::int64_t elements = 0;        ///< product of the shape
  bool has_checksum = false;
};

/// Reads a file. All methods throw Error naming the file and the data set or attribute; where a data set has
/// a checksum for each of several runs of rows, also the rows that are damaged.
class Hdf5Reader {
 public:
  /// Opens `path`; errors for a missing, foreign (not HDF5) or truncated file.
  explicit Hdf5Reader(const std::filesystem::path& path);
  ~Hdf5Reader();
  Hdf5Reader(Hdf5Reader&&) noexcept;
  Hdf5Reader(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(Hdf5Reader&&) = delete;

  const std::filesystem::path& path() const { return path_; }

  bool has(const std::string& name) const;
  bool is_group(const std::string& name) const;
  /// Names of the members of a group, sorted (groups and data sets alike).
  std::vector<std::string> list(const std::string& group) const;
  /// Type and shape; the stored size is compared with what the file can hold before anything trusts it.
  DatasetInfo info(const std::string& name) const;

  /// Whole data set, checksum verified. T: float, double, int32_t, int64_t, uint8_t. Float and double convert
  /// into each other; all else must match. `expected_shape` empty: any shape.
  template <class T>
  std::vector<T> read(const std::string& name, const std::vector<std::int64_t>& expected_shape = {}) const;
  /// The same into memory of the caller, whose size must equal the number of elements.
  template <class T>
  void read_into(const std::string& name, std::span<T> out) const;
  /// Elements [first, first + out.size()) of the row-major data set, which must be whole rows (all that one
  /// index of the first dimension holds); conversion as in read(). No checksum: it covers the whole.
  template <class T>
  void read_slice(const std::string& name, std::int64_t first, std::span<T> out) const;
  /// The whole data set in pieces of whole rows, in order; `take` gets a piece and the place of its first
  /// element. T must be the stored type. The checksum is verified at the end, in memory for one piece.
  template <class T>
  void read_in_pieces(const std::string& name,
                      const std::function<void(std::span<const T>, std::int64_t)>& take) const;
  /// Reads a data set of any of the types above for the sake of its checksum.
  void verify(const std::string& name) const;
  /// A uint8 data set as a string.
  std::string read_string(const std::string& name) const;

  /// An integer attribute of a data set.
  std::int64_t dataset_attribute_int(const std::string& dataset, const std::string& attribute) const;

  bool has_attribute(const std::string& name) const;  ///< of the root group
  std::int64_t attribute_int(const std::string& name) const;
  std::string attribute_string(const std::string& name) const;

 private:
  std::filesystem::path path_;
  std::int64_t file_ = -1;
};

/// Writes a file under a temporary name beside `path`. `commit` flushes, fsyncs, renames over `path` and
/// fsyncs the folder; a writer destroyed before that removes its temporary file and leaves `path` as it was.
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::filesystem::path& path);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  const std::filesystem::path& path() const { return path_; }
  /// Where the file lies until commit().
  const std::filesystem::path& temporary() const { return temporary_; }

  /// Missing groups on the way are made. The checksum (XXH3, 64 bits, of the stored little-endian bytes)
  /// becomes the data set's attribute `xxh3_64`. `compress`: shuffle + deflate, for text. A failure to write
  /// (a full disk) throws Error with the reason and gives the file up.
  template <class T>
  void write(const std::string& name, std::span<const T> data, const std::vector<std::int64_t>& shape,
             bool compress = false);
  void write_string(const std::string& name, std::string_view bytes, bool compress = false);
  /// A data set in pieces: after begin(), append() takes whole rows, in order, until all of `shape` is there.
  /// Nothing else can be written, and nothing committed, before that. The result is write()'s.
  /// `compress`: as there, where pieces should be multiples of kCompressedBlock bytes.
  void begin(const std::string& name, ElementType type, const std::vector<std::int64_t>& shape,
             bool compress = false);
  template <class T>
  void append(std::span<const T> rows);
  /// Takes space for a data set whose values come from elsewhere, and returns where it begins in the file:
  /// until commit(), anybody may write there into temporary(), row-major and little-endian. `rows`: the
  /// bounds, 0 … all rows, of runs of rows that have a checksum each; empty: one for all.
  /// set_checksums() must follow. With one checksum, the result is write()'s.
  std::int64_t reserve(const std::string& name, ElementType type, const std::vector<std::int64_t>& shape,
                       const std::vector<std::int64_t>& rows = {});
  /// Of what was written for a reserved data set, in the order of its runs of rows.
  void set_checksums(const std::string& name, const std::vector<std::uint64_t>& checksums);
  /// For a data set that is there.
  void dataset_attribute_int(const std::string& dataset, const std::string& attribute, std::int64_t value);
  void attribute_int(const std::string& name, std::int64_t value);
  void attribute_string(const std::string& name, const std::string& value);

  void commit();

 private:
  /// Closes and removes the temporary file.
  void abandon() noexcept;
  /// Runs `action`; if that failed, gives the file up and throws Error saying that `what` could not be
  /// written.
  void guard(const std::string& what, const std::function<void()>& action);
  void check_open() const;
  void append_bytes(ElementType type, std::span<const std::byte> bytes);

  struct Unfinished;

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::unique_ptr<Hdf5Output> output_;  ///< null once committed or given up
  std::int64_t file_ = -1;
  std::unique_ptr<Unfinished> unfinished_;       ///< between begin() and the last append()
  std::map<std::string, std::size_t> reserved_;  ///< checksums to come
};

}  // namespace toller
