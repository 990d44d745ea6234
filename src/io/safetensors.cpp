#include "io/safetensors.h"

#include <fcntl.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <utility>

#include "error.h"
#include "io/narrow_float.h"
#include "io/raw_file.h"
#include "io/strict_json.h"

namespace toller {
namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "files are little-endian and are read in place");

constexpr std::uint64_t kLengthBytes = 8;
/// Of the header, and of an index. That of a model with 10,000 tensors is 1 MiB.
constexpr std::uint64_t kMaxHeader = 32 << 20;
/// The object, a tensor's object, its list of numbers.
constexpr int kHeaderDepth = 3;
constexpr const char* kMetadata = "__metadata__";
constexpr std::size_t kPiece = 1 << 18;

struct Dtype {
  const char* name;
  std::uint64_t size;
  SafetensorsType type;
};

constexpr std::array<Dtype, 16> kDtypes = {{
    {"F64", 8, SafetensorsType::kFloat64},
    {"F32", 4, SafetensorsType::kFloat32},
    {"F16", 2, SafetensorsType::kFloat16},
    {"BF16", 2, SafetensorsType::kBFloat16},
    {"I64", 8, SafetensorsType::kOther},
    {"U64", 8, SafetensorsType::kOther},
    {"I32", 4, SafetensorsType::kOther},
    {"U32", 4, SafetensorsType::kOther},
    {"I16", 2, SafetensorsType::kOther},
    {"U16", 2, SafetensorsType::kOther},
    {"I8", 1, SafetensorsType::kOther},
    {"U8", 1, SafetensorsType::kOther},
    {"BOOL", 1, SafetensorsType::kOther},
    {"C64", 8, SafetensorsType::kOther},
    {"F8_E4M3", 1, SafetensorsType::kOther},
    {"F8_E5M2", 1, SafetensorsType::kOther},
}};

const Dtype& dtype_of(SafetensorsType type) {
  return *std::ranges::find(kDtypes, type, &Dtype::type);
}

/// a · b, or nothing if that has more than 63 bits.
bool multiply(std::uint64_t a, std::uint64_t b, std::uint64_t& product) {
  return !__builtin_mul_overflow(a, b, &product) && product <= std::numeric_limits<std::int64_t>::max();
}

/// A list of whole numbers from 0 to 2^63 - 1.
std::vector<std::int64_t> numbers_from_json(const nlohmann::json& tensor, const char* field,
                                            const std::string& label) {
  const auto list = tensor.find(field);
  if (list == tensor.end() || !list->is_array()) fail("{}: {} is not a list", label, field);
  std::vector<std::int64_t> numbers;
  for (const nlohmann::json& number : *list) {
    if (!number.is_number_unsigned() || number.get<std::uint64_t>() >> 63 != 0) {
      fail("{}: {} holds {}, expected whole numbers from 0 on", label, field, number.dump());
    }
    numbers.push_back(number.get<std::int64_t>());
  }
  return numbers;
}

/// `data`: where the tensors' bytes begin, of which there are `size`.
SafetensorsInfo info_from_json(const nlohmann::json& tensor, const std::string& label, std::uint64_t data,
                               std::uint64_t size) {
  if (!tensor.is_object()) fail("{}: its entry in the header is not an object", label);
  for (const auto& [field, value] : tensor.items()) {
    if (field != "dtype" && field != "shape" && field != "data_offsets") {
      fail("{}: unknown field '{}' in the header", label, field);
    }
  }
  SafetensorsInfo info;
  const auto dtype = tensor.find("dtype");
  if (dtype == tensor.end() || !dtype->is_string()) fail("{}: has no dtype", label);
  info.dtype = dtype->get<std::string>();
  const auto* known = std::ranges::find(kDtypes, info.dtype, &Dtype::name);
  if (known == kDtypes.end()) fail("{}: dtype '{}' is unknown", label, info.dtype);
  info.type = known->type;

  info.shape = numbers_from_json(tensor, "shape", label);
  std::uint64_t elements = 1, bytes = 0;
  bool fits = true;
  for (const std::int64_t extent : info.shape) {
    fits = fits && multiply(elements, static_cast<std::uint64_t>(extent), elements);
  }
  if (!fits || !multiply(elements, known->size, bytes)) {
    fail("{}: shape [{}] has too many elements", label, fmt::join(info.shape, ", "));
  }
  info.elements = static_cast<std::int64_t>(elements);

  const std::vector<std::int64_t> offsets = numbers_from_json(tensor, "data_offsets", label);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    fail("{}: data_offsets [{}] are not a begin and an end", label, fmt::join(offsets, ", "));
  }
  const auto begin = static_cast<std::uint64_t>(offsets[0]), end = static_cast<std::uint64_t>(offsets[1]);
  if (end > size) fail("{}: its bytes [{}, {}) lie beyond the {} that the file has", label, begin, end, size);
  info.begin = data + begin;
  info.bytes = end - begin;
  if (info.bytes != bytes) {
    fail("{}: has {} bytes, but {} x [{}] are {}", label, info.bytes, info.dtype, fmt::join(info.shape, ", "),
         bytes);
  }
  return info;
}

/// The tensors of a file must lie one behind the other from `data` to `end`.
void check_layout(const fs::path& path, const std::map<std::string, SafetensorsInfo>& tensors,
                  std::uint64_t data, std::uint64_t end) {
  using Entry = std::pair<const std::string, SafetensorsInfo>;
  std::vector<const Entry*> order;
  for (const Entry& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, {},
                    [](const Entry* entry) { return std::pair(entry->second.begin, entry->second.bytes); });
  std::uint64_t place = data;
  const Entry* before = nullptr;
  for (const Entry* tensor : order) {
    const std::uint64_t begin = tensor->second.begin;
    if (begin < place) {
      fail("{}: tensors {} and {} overlap at byte {}", path.string(), before->first, tensor->first,
           begin - data);
    }
    if (begin > place) {
      fail("{}: tensor {}: the bytes [{}, {}) before it belong to no tensor", path.string(), tensor->first,
           place - data, begin - data);
    }
    place += tensor->second.bytes;
    before = tensor;
  }
  if (place != end) {
    fail("{}: the last {} bytes belong to no tensor: the file is damaged", path.string(), end - place);
  }
}

/// Strings by strings.
void check_metadata(const nlohmann::json& metadata, const fs::path& path) {
  if (!metadata.is_object()) fail("{}: {} in the header is not an object", path.string(), kMetadata);
  for (const auto& [key, value] : metadata.items()) {
    if (!value.is_string()) fail("{}: {} in the header: '{}' is not a text", path.string(), kMetadata, key);
  }
}

bool is_plain_name(const std::string& name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

template <class Bits, class T, class Convert>
void convert(std::span<const std::byte> bytes, T* out, Convert convert) {
  for (std::size_t i = 0; i < bytes.size() / sizeof(Bits); ++i) {
    Bits bits;
    std::memcpy(&bits, bytes.data() + i * sizeof(Bits), sizeof(Bits));
    out[i] = static_cast<T>(convert(bits));
  }
}

template <class T>
void convert_values(SafetensorsType type, std::span<const std::byte> bytes, T* out) {
  switch (type) {
    case SafetensorsType::kFloat64:
      return convert<double>(bytes, out, [](double x) { return x; });
    case SafetensorsType::kFloat32:
      return convert<float>(bytes, out, [](float x) { return x; });
    case SafetensorsType::kFloat16:
      return convert<std::uint16_t>(bytes, out, float_from_half);
    case SafetensorsType::kBFloat16:
      return convert<std::uint16_t>(bytes, out, float_from_bfloat16);
    case SafetensorsType::kOther:
      break;
  }
}

std::string header_of(SafetensorsType type, const std::vector<SafetensorsEntry>& tensors) {
  const Dtype& dtype = dtype_of(type);
  nlohmann::ordered_json header;
  header[kMetadata] = {{"format", "pt"}};
  std::uint64_t place = 0;
  for (const SafetensorsEntry& tensor : tensors) {
    std::uint64_t bytes = dtype.size;
    for (const std::int64_t extent : tensor.shape) bytes *= static_cast<std::uint64_t>(extent);
    header[tensor.name] = {
        {"dtype", dtype.name}, {"shape", tensor.shape}, {"data_offsets", {place, place + bytes}}};
    place += bytes;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that tensors are aligned
  return text;
}

std::int64_t elements_of(const SafetensorsEntry& tensor) {
  std::int64_t elements = 1;
  for (const std::int64_t extent : tensor.shape) elements *= extent;
  return elements;
}

}  // namespace

struct SafetensorsReader::File {
  fs::path path;
  std::unique_ptr<RawFile> file;

  void read(std::span<std::byte> bytes, std::uint64_t place) const {
    const int error = file->read(bytes, place);
    if (error != 0) fail("{}: cannot be read: {}", path.string(), std::strerror(error));
  }
};

SafetensorsReader::~SafetensorsReader() = default;
SafetensorsReader::SafetensorsReader(SafetensorsReader&&) noexcept = default;

SafetensorsReader::SafetensorsReader(const fs::path& path) {
  path.extension() == ".json" ? open_index(path) : open_file(path);
}

void SafetensorsReader::open_index(const fs::path& path) {
  constexpr int kIndexDepth = 3;
  const std::string text = read_small_file(path, kMaxHeader);
  const JsonObject index(parse_strict_json(text, path.string(), kIndexDepth), path.string());
  const auto map = index.json().find("weight_map");
  if (map == index.json().end() || !map->is_object() || map->empty()) {
    fail("{}: has no weight_map", path.string());
  }
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    if (!file.is_string() || !is_plain_name(file.get<std::string>())) {
      fail("{}: tensor {}: {} is no name of a file in this folder", path.string(), tensor, file.dump());
    }
    names.insert(file.get<std::string>());
  }
  for (const std::string& name : names) open_file(fs::path(path).replace_filename(name));
  for (const auto& [tensor, file] : map->items()) {
    const auto found = tensors_.find(tensor);
    const std::string name = file.get<std::string>();
    if (found == tensors_.end() || files_[found->second.file].path.filename() != name) {
      fail("{}: tensor {} is not in {}", path.string(), tensor, name);
    }
  }
  for (const auto& [tensor, info] : tensors_) {
    if (!map->contains(tensor)) fail("{}: is not listed in {}", label(tensor), path.string());
  }
}

void SafetensorsReader::open_file(const fs::path& path) {
  const std::string name = path.string();
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (!fs::exists(status)) fail("{}: there is no such file", name);
  if (!fs::is_regular_file(status)) fail("{}: is not a regular file", name);
  const std::uintmax_t size = fs::file_size(path, error);
  if (error) fail("{}: cannot be read: {}", name, error.message());
  try {
    files_.push_back({path, std::make_unique<RawFile>(path, O_RDONLY)});
  } catch (const Error& problem) {
    fail("{}: cannot open: {}", name, problem.what());
  }
  const File& file = files_.back();

  if (size < kLengthBytes) fail("{}: has {} bytes, too few for a safetensors file", name, size);
  std::uint64_t length = 0;
  file.read(std::as_writable_bytes(std::span(&length, 1)), 0);
  if (length > size - kLengthBytes) {
    fail(
        "{}: says that its header has {} bytes, but the file has {}: it is no safetensors file, or truncated",
        name, length, size);
  }
  if (length > kMaxHeader) {
    fail("{}: its header has {} bytes, more than the {} allowed here", name, length, kMaxHeader);
  }
  std::string text(static_cast<std::size_t>(length), '\0');
  file.read(std::as_writable_bytes(std::span(text)), kLengthBytes);
  if (!text.starts_with('{')) fail("{}: its header does not begin with '{{'", name);

  const JsonObject header(parse_strict_json(text, name + ": header", kHeaderDepth), name + ": header");
  const std::uint64_t data = kLengthBytes + length;
  std::map<std::string, SafetensorsInfo> tensors;
  for (const auto& [tensor, entry] : header.json().items()) {
    if (tensor == kMetadata) {
      check_metadata(entry, path);
      continue;
    }
    SafetensorsInfo info =
        info_from_json(entry, fmt::format("{}: tensor {}", name, tensor), data, size - data);
    info.file = files_.size() - 1;
    tensors.emplace(tensor, std::move(info));
  }
  check_layout(path, tensors, data, size);
  for (auto& [tensor, info] : tensors) {
    const auto [place, is_new] = tensors_.emplace(tensor, std::move(info));
    if (!is_new) fail("{}: tensor {} is in {} too", name, tensor, files_[place->second.file].path.string());
  }
}

const SafetensorsInfo& SafetensorsReader::info(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end()) fail("{}: tensor {} is missing", files_.front().path.string(), name);
  return found->second;
}

std::vector<fs::path> SafetensorsReader::files() const {
  std::vector<fs::path> paths;
  for (const File& file : files_) paths.push_back(file.path);
  return paths;
}

std::string SafetensorsReader::label(const std::string& name) const {
  return fmt::format("{}: tensor {}", files_[info(name).file].path.string(), name);
}

template <class T>
void SafetensorsReader::read(const std::string& name, std::int64_t first, std::span<T> out) const {
  const SafetensorsInfo& tensor = info(name);
  const auto count = static_cast<std::int64_t>(out.size());
  if (tensor.type == SafetensorsType::kOther) {
    fail("{}: is {}, expected F32, F16, BF16 or F64", label(name), tensor.dtype);
  }
  if (first < 0 || count > tensor.elements || first > tensor.elements - count) {
    fail("{}: no elements [{}, {} + {}) among {}", label(name), first, first, count, tensor.elements);
  }
  const std::size_t size = dtype_of(tensor.type).size;
  std::vector<std::byte> bytes(std::min(out.size(), kPiece) * size);
  for (std::size_t done = 0; done < out.size();) {
    const std::size_t piece = std::min(out.size() - done, kPiece);
    const auto raw = std::span(bytes).first(piece * size);
    files_[tensor.file].read(raw, tensor.begin + (static_cast<std::uint64_t>(first) + done) * size);
    convert_values(tensor.type, raw, out.data() + done);
    done += piece;
  }
}

template void SafetensorsReader::read<float>(const std::string&, std::int64_t, std::span<float>) const;
template void SafetensorsReader::read<double>(const std::string&, std::int64_t, std::span<double>) const;

SafetensorsWriter::SafetensorsWriter(const fs::path& path, SafetensorsType type,
                                     std::vector<SafetensorsEntry> tensors)
    : path_(path), type_(type), tensors_(std::move(tensors)) {
  try {
    file_ = std::make_unique<RawFile>(path, O_WRONLY | O_CREAT | O_EXCL);
  } catch (const Error& problem) {
    fail("{}: cannot create: {}", path.string(), problem.what());
  }
  const std::string header = header_of(type, tensors_);
  const std::uint64_t length = header.size();
  write_bytes(std::as_bytes(std::span(&length, 1)));
  write_bytes(std::as_bytes(std::span(header)));
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write_bytes(std::span<const std::byte> bytes) {
  const int error = file_->write(bytes, place_);
  if (error != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(error));
  place_ += bytes.size();
}

void SafetensorsWriter::fail_value(float value, std::int64_t element) const {
  const std::string label =
      fmt::format("{}: tensor {}: element {} is {}", path_.string(), tensors_[tensor_].name, element, value);
  if (!std::isfinite(value)) fail("{}", label);
  fail("{}, too large for {}", label, dtype_of(type_).name);
}

void SafetensorsWriter::append(std::span<const float> values) {
  const auto count = static_cast<std::int64_t>(values.size());
  if (tensor_ == tensors_.size() || count > elements_of(tensors_[tensor_]) - elements_) {
    fail("{}: {} values more than the tensors have", path_.string(), count);
  }
  std::vector<std::uint16_t> narrow;
  if (type_ != SafetensorsType::kFloat32) narrow.resize(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    bool is_finite = std::isfinite(values[i]);
    if (is_finite && type_ == SafetensorsType::kFloat16) {
      narrow[i] = half_from_float(values[i]);
      is_finite = std::isfinite(float_from_half(narrow[i]));
    } else if (is_finite && type_ == SafetensorsType::kBFloat16) {
      narrow[i] = bfloat16_from_float(values[i]);
      is_finite = std::isfinite(float_from_bfloat16(narrow[i]));
    }
    if (!is_finite) fail_value(values[i], elements_ + static_cast<std::int64_t>(i));
  }
  write_bytes(narrow.empty() ? std::as_bytes(values) : std::as_bytes(std::span(narrow)));
  elements_ += count;
  if (elements_ < elements_of(tensors_[tensor_])) return;
  elements_ = 0;
  ++tensor_;
}

void SafetensorsWriter::close() {
  if (tensor_ < tensors_.size()) {
    fail("{}: tensor {} is not complete", path_.string(), tensors_[tensor_].name);
  }
  int error = file_->sync();
  if (error == 0) error = file_->close();
  if (error != 0) fail("{}: cannot write: {}", path_.string(), std::strerror(error));
}

}  // namespace toller
