// Lines of fields that are separated by tabs.
#pragma once

#include <string_view>
#include <vector>

#include "data/text_file.h"

namespace toller {

/// The fields of a line, at least one; views into it. Quotes mean nothing.
std::vector<std::string_view> tab_fields(std::string_view line, char separator = '\t');

/// The number that a field holds; fails at the reader's line unless it is finite. `what` names the field.
float parse_finite(std::string_view field, const char* what, const LineReader& reader);

}  // namespace toller
