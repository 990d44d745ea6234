// Lines of JSON that hold a query with its documents, in any of the forms that are in use:
//   {"query_id": "q1", "query": "…", "positive_passages": [{"docid": "d1", "title": "…", "text": "…"}],
//    "negative_passages": […]}                          Tevatron; query_id, docid, title and score optional
//   {"query": "…", "pos": ["…"], "neg": ["…"], "pos_scores": [1.5], "neg_scores": [0.2]}       FlagEmbedding
//   {"anchor": "…", "positive": "…", "negative": "…"}    sentence-transformers; also negative_1, negative_2 …
//   ["query", "positive"] or ["query", "positive", "negative"]
#pragma once

#include <string_view>

#include "data/example_collector.h"

namespace toller {

/// Fields that are not known are passed over. Errors, at the reader's line: broken JSON, none of these forms,
/// a field of another type, other numbers of scores than of documents, a score that is not finite.
Example parse_json_example(std::string_view line, const LineReader& reader);

}  // namespace toller
