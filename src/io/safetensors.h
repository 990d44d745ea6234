// Tensors in the safetensors format (github.com/huggingface/safetensors): the length of a header (8 bytes,
// little-endian), the header in JSON, {"name": {"dtype", "shape", "data_offsets": [begin, end]}, …}, and the
// bytes of all tensors, row-major and little-endian, one behind the other without holes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace toller {

class RawFile;

/// Types that are converted; kOther: one of the format's others, whose tensors are only listed.
enum class SafetensorsType { kFloat64, kFloat32, kFloat16, kBFloat16, kOther };

struct SafetensorsInfo {
  SafetensorsType type = SafetensorsType::kOther;
  std::string dtype;                ///< the format's name of it: F32, BF16, I64
  std::vector<std::int64_t> shape;  ///< empty for a scalar
  std::int64_t elements = 0;
  std::size_t file = 0;     ///< index into files()
  std::uint64_t begin = 0;  ///< place of the first byte in the file
  std::uint64_t bytes = 0;
};

/// Reads one file, or the files that an index lists. All of the headers is checked before anything is read:
/// lengths, types, shapes against bytes, ranges, overlaps, holes, names that are there twice. All methods
/// throw Error naming the file and the tensor. Files must stay as they are while this is in use.
class SafetensorsReader {
 public:
  /// `path`: a file, or an index (its name ends in .json): {"weight_map": {"tensor": "file in this folder"}}.
  explicit SafetensorsReader(const std::filesystem::path& path);
  ~SafetensorsReader();
  SafetensorsReader(SafetensorsReader&&) noexcept;
  SafetensorsReader(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(const SafetensorsReader&) = delete;
  SafetensorsReader& operator=(SafetensorsReader&&) = delete;

  const std::map<std::string, SafetensorsInfo>& tensors() const { return tensors_; }
  const SafetensorsInfo& info(const std::string& name) const;
  std::vector<std::filesystem::path> files() const;
  /// "file: tensor name", for messages.
  std::string label(const std::string& name) const;

  /// Elements [first, first + out.size()) of the row-major tensor. T: float or double, to which narrower
  /// types convert exactly; double to float is rounded. Types of kOther are an error.
  template <class T>
  void read(const std::string& name, std::int64_t first, std::span<T> out) const;

 private:
  struct File;

  void open_index(const std::filesystem::path& path);
  void open_file(const std::filesystem::path& path);

  std::vector<File> files_;
  std::map<std::string, SafetensorsInfo> tensors_;
};

struct SafetensorsEntry {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// Writes a file of tensors of one type, in the order in which they are listed. All methods throw Error
/// naming the file, and the tensor if it is about one.
class SafetensorsWriter {
 public:
  /// `path` must not exist. `type`: kFloat32, kFloat16 or kBFloat16.
  SafetensorsWriter(const std::filesystem::path& path, SafetensorsType type,
                    std::vector<SafetensorsEntry> tensors);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  /// The next values, of one tensor: rounded to the nearest number of the type, ties to even. Error for a
  /// value that is not finite, or would not be in this type.
  void append(std::span<const float> values);
  /// All tensors must be complete. Waits until the file is on disk.
  void close();

 private:
  void write_bytes(std::span<const std::byte> bytes);
  [[noreturn]] void fail_value(float value, std::int64_t element) const;

  std::filesystem::path path_;
  SafetensorsType type_;
  std::vector<SafetensorsEntry> tensors_;
  std::unique_ptr<RawFile> file_;
  std::uint64_t place_ = 0;    ///< in the file
  std::size_t tensor_ = 0;     ///< the one in hand
  std::int64_t elements_ = 0;  ///< of it, that are written
};

}  // namespace toller
