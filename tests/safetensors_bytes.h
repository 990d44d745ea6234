// Safetensors files of any content.
#pragma once

#include <cstdint>
#include <string>

namespace toller {

/// A file: the header's length, the header, the data.
inline std::string safetensors_bytes(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof(length)) + header + data;
}

}  // namespace toller
