// Bad input, as a user meets it: the built program, alone and under mpirun, must say what is wrong and where
// in one message, end with the right status within ten seconds, and leave nothing behind that looks finished.
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <memory>

#include "cli/broken_files.h"
#include "cli/hdf5_edit.h"
#include "cli/scratch_folder.h"

namespace toller {
namespace {

constexpr int kFailure = 1;  ///< exit status of a failure at run time
constexpr int kUsage = 2;    ///< exit status of wrong use

struct Case {
  const char* name;
  const char* command;
  int status;
  std::vector<std::string> words;  ///< all of them are in the message
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << c.command;
}

class BadInput : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    if (folder_) return;
    auto folder = std::make_unique<ScratchFolder>();
    make_broken_files(*folder);
    folder_ = std::move(folder);
  }
  /// Made once for all suites.
  static inline std::unique_ptr<ScratchFolder> folder_;
};

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

/// New files that must not be there. A run folder may keep its options, its logs, and checkpoints that are
/// whole.
std::vector<std::string> left_behind(const ScratchFolder& folder, const std::set<std::string>& before) {
  const std::set<std::string> after = folder.files();
  std::vector<std::string> added;
  std::ranges::set_difference(after, before, std::back_inserter(added));
  std::erase_if(added, [&](const std::string& name) {
    const std::filesystem::path path(name);
    if (path.parent_path() != "new-run") return false;
    const std::string file = path.filename().string();
    return file == "config.json" || file == "metrics.jsonl" || file == "train.log" ||
           (path.extension() == ".h5" && is_whole(folder.path() / path));
  });
  return added;
}

TEST_P(BadInput, IsRefused) {
  const Case& c = GetParam();
  const std::set<std::string> before = folder_->files();
  const CommandResult result = run_command(c.command, folder_->path(), std::chrono::seconds(10));
  EXPECT_EQ(result.status, c.status) << result.output;
  for (const std::string& word : c.words) {
    EXPECT_NE(result.output.find(word), std::string::npos) << "no '" << word << "' in: " << result.output;
  }
  EXPECT_EQ(count(result.output, ": error: "), 1u) << result.output;
  EXPECT_EQ(left_behind(*folder_, before), std::vector<std::string>{});
  std::filesystem::remove_all(folder_->path() / "new-run");
}

std::string case_name(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    CommandLine, BadInput,
    testing::ValuesIn(std::vector<Case>{
        {"NoSubcommand", "toller", kUsage, {"--help"}},
        {"UnknownSubcommand", "toller trian", kUsage, {"'trian'", "did you mean 'train'"}},
        {"UnknownFlag",
         "toller train --data good.h5 --out new-run --tempreature 1",
         kUsage,
         {"--tempreature", "did you mean --temperature"}},
        {"FlagWithoutValue", "toller train --data good.h5 --out new-run --lr", kUsage, {"--lr"}},
        {"StrayWord", "toller train good.h5 --out new-run", kUsage, {"good.h5"}},
        {"WordForNumber",
         "toller train --data good.h5 --out new-run --steps many",
         kUsage,
         {"--steps", "many"}},
        {"RequiredFlagMissing", "toller train --out new-run", kUsage, {"--data"}},
        {"ConfigTypo",
         "toller train --config typo.conf --data good.h5 --out new-run",
         kUsage,
         {"typo.conf", "line 3", "global-bacth", "did you mean global-batch"}},
        {"ConfigSyntax",
         "toller train --config syntax.conf --data good.h5 --out new-run",
         kUsage,
         {"syntax.conf", "line 1"}},
        {"ConfigBrokenJson",
         "toller train --config broken.json --data good.h5 --out new-run",
         kUsage,
         {"broken.json", "line 2"}},
        {"ConfigMissing",
         "toller train --config none.conf --data good.h5 --out new-run",
         kUsage,
         {"none.conf"}},
    }),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Collections, BadInput,
    testing::ValuesIn(std::vector<Case>{
        {"NoWordnet", "toller wordnet --source none --out new", kFailure, {"none/data.noun"}},
        {"NoSuchFolder",
         "toller prepare --collection none --train-tokenizer 40 --out new.h5",
         kFailure,
         {"none"}},
        {"NoCorpus",
         "toller prepare --collection no-corpus --train-tokenizer 40 --out new.h5",
         kFailure,
         {"no-corpus/corpus.jsonl"}},
        {"NoQrels",
         "toller prepare --collection no-qrels --train-tokenizer 40 --out new.h5",
         kFailure,
         {"no-qrels/qrels"}},
        {"BrokenJson",
         "toller prepare --collection broken-json --train-tokenizer 40 --out new.h5",
         kFailure,
         {"broken-json/corpus.jsonl:3"}},
        {"NoTextField",
         "toller prepare --collection no-text-field --train-tokenizer 40 --out new.h5",
         kFailure,
         {"no-text-field/queries.jsonl:17", "text"}},
        {"NumberForText",
         "toller prepare --collection number-for-text --train-tokenizer 40 --out new.h5",
         kFailure,
         {"number-for-text/corpus.jsonl:41", "text"}},
        {"DuplicateId",
         "toller prepare --collection duplicate-id --train-tokenizer 40 --out new.h5",
         kFailure,
         {"duplicate-id/corpus.jsonl:41", "d3"}},
        {"EmptyQuery",
         "toller prepare --collection empty-query --train-tokenizer 40 --out new.h5",
         kFailure,
         {"empty-query/queries.jsonl:17", "q99"}},
        {"BadUtf8",
         "toller prepare --collection bad-utf8 --train-tokenizer 40 --out new.h5",
         kFailure,
         {"bad-utf8/corpus.jsonl:41", "UTF-8"}},
        {"UnknownDocument",
         "toller prepare --collection unknown-document --train-tokenizer 40 --out new.h5",
         kFailure,
         {"unknown-document/qrels/test.tsv:10", "d777"}},
        {"UnknownQuery",
         "toller prepare --collection unknown-query --train-tokenizer 40 --out new.h5",
         kFailure,
         {"unknown-query/qrels/train.tsv:26", "q777"}},
        {"GradeWord",
         "toller prepare --collection grade-word --train-tokenizer 40 --out new.h5",
         kFailure,
         {"grade-word/qrels/test.tsv:10", "good"}},
        {"TwoColumns",
         "toller prepare --collection two-columns --train-tokenizer 40 --out new.h5",
         kFailure,
         {"two-columns/qrels/test.tsv:10"}},
        {"EmptySplit",
         "toller prepare --collection empty-split --train-tokenizer 40 --out new.h5",
         kFailure,
         {"empty-split/qrels/test.tsv"}},
        {"ExampleBrokenJson",
         "toller prepare --collection examples-broken-json.jsonl --tokenizer good.tokenizer.json --out "
         "new.h5",
         kFailure,
         {"examples-broken-json.jsonl:3", "broken JSON"}},
        {"ExampleNoQuery",
         "toller prepare --collection examples-no-query.jsonl --tokenizer good.tokenizer.json --out new.h5",
         kFailure,
         {"examples-no-query.jsonl:3", "query"}},
        {"ExampleEmptyText",
         "toller prepare --collection examples-empty-text.jsonl --tokenizer good.tokenizer.json --out new.h5",
         kFailure,
         {"examples-empty-text.jsonl:3", "empty"}},
        {"ExampleNoPositives",
         "toller prepare --collection examples-no-positives.jsonl --tokenizer good.tokenizer.json --out "
         "new.h5",
         kFailure,
         {"examples-no-positives.jsonl:3", "no positives"}},
        {"ExampleWrongType",
         "toller prepare --collection examples-wrong-type.jsonl --tokenizer good.tokenizer.json --out new.h5",
         kFailure,
         {"examples-wrong-type.jsonl:3", "text", "number"}},
        {"ExampleMoreScores",
         "toller prepare --collection examples-more-scores.jsonl --tokenizer good.tokenizer.json --out "
         "new.h5",
         kFailure,
         {"examples-more-scores.jsonl:3", "2 scores for 1"}},
        {"ExampleNanScore",
         "toller prepare --collection examples-nan-score.jsonl --tokenizer good.tokenizer.json --out new.h5",
         kFailure,
         {"examples-nan-score.jsonl:3", "broken JSON"}},
        {"ExampleNotGzip",
         "toller prepare --collection examples-not-gzip.jsonl.gz --tokenizer good.tokenizer.json --out "
         "new.h5",
         kFailure,
         {"examples-not-gzip.jsonl.gz", "not a gzip file"}},
        {"ExampleCutShort",
         "toller prepare --collection examples-cut-short.jsonl.gz --tokenizer good.tokenizer.json --out "
         "new.h5",
         kFailure,
         {"examples-cut-short.jsonl.gz", "cut short"}},
        {"ExampleBothForms",
         "toller prepare --collection examples-both --tokenizer good.tokenizer.json --out new.h5",
         kFailure,
         {"examples-both/train.jsonl.gz", "train.jsonl is there too"}},
        {"ExampleNoHeader",
         "toller prepare --collection examples-no-header.tsv --tokenizer good.tokenizer.json --out new.h5",
         kFailure,
         {"examples-no-header.tsv:1", "header", "--columns"}},
        {"ExampleColumnsOfJson",
         "toller prepare --collection examples-broken-json.jsonl --tokenizer good.tokenizer.json --columns "
         "query,positive --out new.h5",
         kUsage,
         {"--columns"}},
        {"VocabularyTooLarge",
         "toller prepare --collection good --train-tokenizer 30000 --out new.h5",
         kFailure,
         {"vocabulary", "30000"}},
        {"EmptyTokenizer",
         "toller prepare --collection good --tokenizer empty.model --out new.h5",
         kFailure,
         {"empty.model"}},
        {"CasedModel",
         "toller prepare --collection good --tokenizer empty.model --cased --out new.h5",
         kUsage,
         {"--cased", "vocab.txt"}},
        {"TokenizerJson",
         "toller prepare --collection good --tokenizer broken.json --out new.h5",
         kFailure,
         {"broken.json", "not JSON"}},
        {"MaxLength",
         "toller prepare --collection good --train-tokenizer 40 --max-length 1 --out new.h5",
         kUsage,
         {"--max-length"}},
    }),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Stores, BadInput,
    testing::ValuesIn(std::vector<Case>{
        {"Missing", "toller train --data none.h5 --out new-run", kFailure, {"none.h5"}},
        {"Folder", "toller train --data good --out new-run", kFailure, {"good"}},
        {"Text", "toller train --data text.h5 --out new-run", kFailure, {"text.h5", "not an HDF5 file"}},
        {"Empty", "toller train --data empty.h5 --out new-run", kFailure, {"empty.h5", "HDF5"}},
        {"Truncated",
         "toller train --data truncated.h5 --out new-run",
         kFailure,
         {"truncated.h5", "truncated"}},
        {"Foreign", "toller train --data foreign.h5 --out new-run", kFailure, {"foreign.h5", "kind"}},
        {"Checkpoint",
         "toller evaluate --model run --data run/step-00000000.h5 --split test",
         kFailure,
         {"run/step-00000000.h5", "not a token store"}},
        {"Newer",
         "toller train --data newer.h5 --out new-run",
         kFailure,
         {"newer.h5", "format_version", "99"}},
        {"BitFlip",
         "toller train --data bit-flip.h5 --out new-run",
         kFailure,
         {"bit-flip.h5", "/documents/tokens", "checksum"}},
        {"TokenOutOfRange",
         "toller train --data token-out-of-range.h5 --out new-run",
         kFailure,
         {"token-out-of-range.h5", "/documents/tokens", "1000000"}},
        {"OffsetOutOfRange",
         "toller train --data offset-out-of-range.h5 --out new-run",
         kFailure,
         {"offset-out-of-range.h5", "/queries/offsets"}},
        {"DocumentOutOfRange",
         "toller train --data document-out-of-range.h5 --out new-run",
         kFailure,
         {"document-out-of-range.h5", "/splits/train/document", "40"}},
        {"NoOffsets",
         "toller train --data no-offsets.h5 --out new-run",
         kFailure,
         {"no-offsets.h5", "/documents/offsets"}},
        {"NoSuchSplit",
         "toller evaluate --model run --data good.h5 --split valid",
         kFailure,
         {"good.h5", "\"valid\"", "test, train"}},
        {"NoTestSplit",
         "toller evaluate --bm25 --data only-train.h5 --split test",
         kFailure,
         {"only-train.h5", "test"}},
    }),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    DataSets, BadInput,
    testing::ValuesIn(std::vector<Case>{
        {"ScoreWord",
         "toller prepare --collection pairs-score-word --tokenizer good.tokenizer.json --out new.h5",
         kFailure,
         {"pairs-score-word/pairs/train.tsv:14", "high"}},
        {"TwoColumns",
         "toller prepare --collection pairs-two-columns --tokenizer good.tokenizer.json --out new.h5",
         kFailure,
         {"pairs-two-columns/pairs/train.tsv:14"}},
        {"PairsWithoutALoss",
         "toller train --data good.h5 --data pairs.h5 --out new-run",
         kUsage,
         {"pairs.h5", "scored pairs", "infonce", "cosent"}},
        {"JudgementsWithoutALoss",
         "toller train --data good.h5 --data pairs.h5 --loss cosent --out new-run",
         kUsage,
         {"good.h5", "relevance judgements", "cosent", "infonce"}},
        {"LossWithoutPairs",
         "toller train --data good.h5 --loss infonce --loss cosent --out new-run",
         kUsage,
         {"--loss cosent", "scored pairs"}},
        {"NoTeacher",
         "toller train --data good.h5 --loss kl --out new-run",
         kFailure,
         {"good.h5", "train", "teacher", "--loss kl"}},
        {"OtherTokenizer",
         "mpirun -q -np 2 toller train --data good.h5 --data other-tokenizer.h5 --out new-run",
         kFailure,
         {"other-tokenizer.h5", "good.h5", "tokenizer"}},
        {"Weights",
         "toller train --data good.h5 --data good.h5 --data-weights 1,2,3 --out new-run",
         kUsage,
         {"--data-weights", "3 for 2"}},
        {"ForgetPairs",
         "toller train --data good.h5 --forget pairs.h5 --out new-run",
         kUsage,
         {"--forget", "pairs.h5"}},
        {"Bm25OfPairs",
         "toller evaluate --bm25 --data pairs.h5 --split train",
         kUsage,
         {"--bm25", "pairs.h5"}},
        {"ResumeWithMoreData",
         "toller train --resume run --data good.h5 --data good.h5",
         kUsage,
         {"--data", "--resume"}},
        {"ResumeWithSomethingToForget",
         "toller train --resume run --forget good.h5",
         kUsage,
         {"--forget", "--resume"}},
    }),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Checkpoints, BadInput,
    testing::ValuesIn(std::vector<Case>{
        {"Missing", "toller evaluate --model none.h5 --data good.h5 --split test", kFailure, {"none.h5"}},
        {"FolderWithoutRun", "toller evaluate --model good --data good.h5 --split test", kFailure, {"good"}},
        {"Text", "toller inspect text.h5", kFailure, {"text.h5", "not an HDF5 file"}},
        {"Store",
         "toller evaluate --model good.h5 --data good.h5 --split test",
         kFailure,
         {"good.h5", "checkpoint"}},
        {"Truncated",
         "toller evaluate --model truncated-model.h5 --data good.h5 --split test",
         kFailure,
         {"truncated-model.h5"}},
        {"BitFlip",
         "toller evaluate --model bit-flip-model.h5 --data good.h5 --split test",
         kFailure,
         {"bit-flip-model.h5", "embeddings.word_embeddings.weight", "checksum"}},
        {"NotANumber",
         "toller evaluate --model nan-model.h5 --data good.h5 --split test",
         kFailure,
         {"nan-model.h5", "embeddings.word_embeddings.weight"}},
        {"Newer",
         "toller evaluate --model newer-model.h5 --data good.h5 --split test",
         kFailure,
         {"newer-model.h5", "99"}},
        {"TensorMissing",
         "toller evaluate --model no-tensor-model.h5 --data good.h5 --split test",
         kFailure,
         {"no-tensor-model.h5", "embeddings.word_embeddings.weight"}},
        {"HeadsDoNotDivide",
         "toller evaluate --model heads-model.h5 --data good.h5 --split test",
         kFailure,
         {"heads-model.h5", "heads"}},
        {"ConfigCutOff",
         "toller evaluate --model config-model.h5 --data good.h5 --split test",
         kFailure,
         {"config-model.h5", "config"}},
        {"TruncateBeyondTheModel",
         "toller evaluate --model run/last --data good.h5 --split test --truncate 4096",
         kUsage,
         {"--truncate 4096", "run/last"}},
        {"TruncateNothing",
         "toller encode --model run/last --data good.h5 --out new.h5 --truncate=-1",
         kUsage,
         {"--truncate -1"}},
        {"TruncateBm25",
         "toller evaluate --bm25 --data good.h5 --split test --truncate 8",
         kUsage,
         {"--truncate"}},
        {"MatryoshkaBeyondTheModel",
         "toller train --data good.h5 --out new-run --matryoshka 4096,64",
         kUsage,
         {"--matryoshka 4096,64", "128"}},
        {"FuseNothing", "toller fuse --method soup --out new.h5", kUsage, {"heckpoint"}},
        {"FuseWithoutBase",
         "toller fuse --method delta-guided --out new.h5 run/last run/last",
         kUsage,
         {"--base"}},
        {"FuseUnknownMethod", "toller fuse --method sup --out new.h5 run/last", kUsage, {"sup"}},
        {"FuseWeights",
         "toller fuse --method soup --weights 1,2,3 --out new.h5 run/last run/last",
         kUsage,
         {"weights"}},
        {"FuseOptionOfAnotherMethod",
         "toller fuse --method soup --density 0.2 --out new.h5 run/last run/last",
         kUsage,
         {"--density", "soup", "ties"}},
        {"FuseOutOfRange",
         "toller fuse --method dare --drop 1 --base run/last --out new.h5 run/last run/last",
         kUsage,
         {"--drop is 1"}},
        {"FuseSlerpOfThree",
         "toller fuse --method slerp --out new.h5 run/last run/last run/last",
         kUsage,
         {"slerp", "two", "3"}},
        {"FusePatternWithoutMatch",
         "toller fuse --method soup --out new.h5 'run/**/none-*.h5'",
         kFailure,
         {"run/**/none-*.h5", "nothing matches"}},
        {"FuseSweepWithoutData",
         "toller fuse --method soup --sweep --out new.h5 run/last run/last",
         kUsage,
         {"--data"}},
        {"FuseDataWithoutSweep",
         "toller fuse --method soup --data good.h5 --out new.h5 run/last run/last",
         kUsage,
         {"--data", "--sweep"}},
        {"FuseGreedyWithWeights",
         "toller fuse --method greedy-soup --weights 1,2 --data good.h5 --out new.h5 run/last run/last",
         kUsage,
         {"--weights", "greedy-soup"}},
        {"FuseGreedyUnknownMetric",
         "toller fuse --method greedy-soup --metric ndgc --split test --data good.h5 --out new.h5 run/last "
         "run/last",
         kUsage,
         {"--metric", "ndgc", "ndcg@10"}},
        {"FuseGreedyUnknownSplit",
         "toller fuse --method greedy-soup --split tset --data good.h5 --out new.h5 run/last run/last",
         kFailure,
         {"tset"}},
        {"FuseTruncated",
         "toller fuse --method soup --out new.h5 run/last truncated-model.h5",
         kFailure,
         {"truncated-model.h5"}},
        {"FuseBitFlip",
         "toller fuse --method soup --out new.h5 run/last bit-flip-model.h5",
         kFailure,
         {"bit-flip-model.h5"}},
        {"FuseMissing", "toller fuse --method soup --out new.h5 run/last none.h5", kFailure, {"none.h5"}},
        {"FuseOtherModel",
         "toller fuse --method soup --out new.h5 run/last cls-model.h5",
         kFailure,
         {"run/last", "cls-model.h5", "pooling", "mean", "cls"}},
        {"FuseOtherShape",
         "toller fuse --method soup --out new.h5 run/last shape-model.h5",
         kFailure,
         {"shape-model.h5", "embeddings.word_embeddings.weight", "[41, 128]", "[40, 128]"}},
        {"FuseMapOfNothing",
         "toller fuse --method soup --map 'bert.*=*' --out new.h5 run/last run/last",
         kUsage,
         {"--map bert.*=*", "no checkpoint"}},
        {"FuseMapWithoutTarget",
         "toller fuse --method soup --map bert --out new.h5 run/last run/last",
         kUsage,
         {"--map bert", "FROM=TO"}},
        {"FuseMapOneStar",
         "toller fuse --method soup --map 'bert.*=x' --out new.h5 run/last run/last",
         kUsage,
         {"--map bert.*=x", "both or of none"}},
        {"FuseSeveralMethods",
         "toller fuse --method soup,ties --out new.h5 run/last run/last",
         kUsage,
         {"soup,ties", "--sweep"}},
        {"FusePlotWithoutSweep",
         "toller fuse --method soup --plot new.svg --out new.h5 run/last run/last",
         kUsage,
         {"--plot", "--sweep"}},
        {"FuseSearchOrder",
         "toller fuse --method soup --sweep --search all --data good.h5 --out new.h5 run/last run/last",
         kUsage,
         {"--search", "all", "coordinates"}},
    }),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Training, BadInput,
    testing::ValuesIn(std::vector<Case>{
        {"Preset", "toller train --data good.h5 --out new-run --preset tyni", kUsage, {"tyni", "tiny"}},
        {"NanLearningRate", "toller train --data good.h5 --out new-run --lr nan", kUsage, {"--lr", "nan"}},
        {"NegativeSteps", "toller train --data good.h5 --out new-run --steps -5", kUsage, {"--steps", "-5"}},
        {"ZeroBatch",
         "toller train --data good.h5 --out new-run --global-batch 0",
         kUsage,
         {"--global-batch"}},
        {"Dropout", "toller train --data good.h5 --out new-run --dropout 1.5", kUsage, {"--dropout", "1.5"}},
        {"Temperature",
         "toller train --data good.h5 --out new-run --temperature 0",
         kUsage,
         {"--temperature"}},
        {"Loss", "toller train --data good.h5 --out new-run --loss infonec", kUsage, {"infonec"}},
        {"Schedule", "toller train --data good.h5 --out new-run --schedule cosin", kUsage, {"cosin"}},
        {"Pooling", "toller train --data good.h5 --out new-run --pooling max", kUsage, {"max"}},
        {"Device", "toller train --data good.h5 --out new-run --device tpu", kUsage, {"--device", "tpu"}},
        {"HeadsDoNotDivide",
         "toller train --data good.h5 --out new-run --hidden-size 128 --heads 3",
         kUsage,
         {"heads"}},
        {"SizesWithInit",
         "toller train --data good.h5 --out new-run --init run --layers 3",
         kUsage,
         {"--layers", "--init"}},
        {"InitMissing", "toller train --data good.h5 --out new-run --init none.h5", kFailure, {"none.h5"}},
        {"ResumeNothing", "toller train --resume good", kFailure, {"good"}},
        {"Diverges",
         "toller train --data good.h5 --out new-run --global-batch 4 --steps 40 --lr 1e30 --clip 0",
         kFailure,
         {"the loss is", "--lr", "new-run/step-00000000.h5"}},
    }),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    Output, BadInput,
    testing::ValuesIn(std::vector<Case>{
        {"NoSuchFolder", "toller fuse --method soup --out none/new.h5 run/last run/last", kFailure, {"none"}},
        {"FileForFolder",
         "toller prepare --collection good --train-tokenizer 40 --out good.h5/new.h5",
         kFailure,
         {"good.h5"}},
        {"RunIsAFile", "toller train --data good.h5 --out good.h5", kFailure, {"good.h5"}},
        // A limit on file size stands in for a disk that fills up in the middle of a file.
        {"StoreCutOff",
         "trap \"\" XFSZ; ulimit -f 8; exec toller prepare --collection good --train-tokenizer 40 --out "
         "new.h5",
         kFailure,
         {"new"}},
        {"CheckpointCutOff",
         "trap \"\" XFSZ; ulimit -f 64; exec toller train --data good.h5 --out new-run --steps 1 "
         "--global-batch 4",
         kFailure,
         {"new-run/step-00000000.h5"}},
        {"FusionCutOff",
         "trap \"\" XFSZ; ulimit -f 64; exec toller fuse --method soup --out new.h5 run/last run/last",
         kFailure,
         {"new.h5"}},
        {"JsonCutOff",
         "toller evaluate --model run --data good.h5 --split test --json none/new.json",
         kFailure,
         {"none"}},
    }),
    case_name);

INSTANTIATE_TEST_SUITE_P(
    TwoRanks, BadInput,
    testing::ValuesIn(std::vector<Case>{
        {"UnknownSubcommand", "mpirun -q -np 2 toller trian", kUsage, {"rank 0", "did you mean 'train'"}},
        {"UnknownFlag",
         "mpirun -q -np 2 toller train --tempreature 1",
         kUsage,
         {"did you mean --temperature"}},
        {"StoreMissing", "mpirun -q -np 2 toller train --data none.h5 --out new-run", kFailure, {"none.h5"}},
        {"StoreTruncated",
         "mpirun -q -np 2 toller train --data truncated.h5 --out new-run",
         kFailure,
         {"truncated.h5"}},
        {"MoreRanksThanQueries",
         "mpirun -q -np 3 toller train --data good.h5 --out new-run --global-batch 2",
         kUsage,
         {"--global-batch", "number of ranks, 3"}},
        {"CheckpointCutOff",
         "mpirun -q -np 2 --mca btl self,tcp sh -c \"trap '' XFSZ; ulimit -f 64; exec toller train --data "
         "good.h5 --out new-run --steps 1 --global-batch 4\"",
         kFailure,
         {"rank 0", "new-run/step-00000000.h5"}},
        {"OneRankAlone",
         "mpirun -q -np 1 toller train --data good.h5 --out new-run --global-batch 4 : "
         "-np 1 toller train --data none.h5 --out new-run --global-batch 4",
         kFailure,
         {"rank 1", "none.h5"}},
        {"Diverges",
         "mpirun -q -np 2 toller train --data good.h5 --out new-run --global-batch 4 --steps 40 --lr 1e30 "
         "--clip 0",
         kFailure,
         {"the loss is", "--lr", "new-run/step-00000000.h5"}},
        {"FuseMissing",
         "mpirun -q -np 2 toller fuse --method soup --out new.h5 run/last none.h5",
         kFailure,
         {"none.h5"}},
        {"FuseNotANumber",
         "mpirun -q -np 2 toller fuse --method soup --out new.h5 run/last nan-model.h5",
         kFailure,
         {"nan-model.h5", "embeddings.word_embeddings.weight", "nan"}},
        {"FuseNotANumberBase",
         "mpirun -q -np 3 toller fuse --method ties --base nan-model.h5 --out new.h5 run/last run/last",
         kFailure,
         {"nan-model.h5", "embeddings.word_embeddings.weight", "nan"}},
        {"FuseOtherModel",
         "mpirun -q -np 2 toller fuse --method soup --out new.h5 run/last cls-model.h5",
         kFailure,
         {"cls-model.h5", "pooling"}},
        {"FusePatternWithoutMatch",
         "mpirun -q -np 2 toller fuse --method soup --out new.h5 'run/**/none-*.h5'",
         kFailure,
         {"run/**/none-*.h5", "nothing matches"}},
        {"SweepMissing",
         "mpirun -q -np 2 toller fuse --sweep --method soup --data none.h5 --out new.h5 run/last run/last",
         kFailure,
         {"none.h5"}},
        {"EvaluateTruncated",
         "mpirun -q -np 2 toller evaluate --model truncated-model.h5 --data good.h5 --split test",
         kFailure,
         {"truncated-model.h5"}},
    }),
    case_name);

/// Root may mount a small file system; root also writes where the permissions say no, so only a read-only
/// mount will do.
class Mounts : public BadInput {
 protected:
  void mount_at(const char* name, unsigned long flags, const char* options) {
    at_ = folder_->path() / name;
    std::filesystem::create_directory(at_);
    if (mount("tmpfs", at_.c_str(), "tmpfs", flags, options) != 0) {
      std::filesystem::remove(at_);
      at_.clear();
      GTEST_SKIP() << "cannot mount";
    }
  }
  ~Mounts() override {
    if (at_.empty()) return;
    umount(at_.c_str());
    std::filesystem::remove(at_);
  }
  std::filesystem::path at_;
};

TEST_F(Mounts, FullDiskLeavesNothing) {
  mount_at("full", 0, "size=96k");
  if (IsSkipped()) return;
  for (const char* command :
       {"toller prepare --collection good --tokenizer good.tokenizer.json --out full/new.h5",
        "toller train --data good.h5 --out full/run --steps 1 --global-batch 4",
        "toller fuse --method soup --out full/new.h5 run/last run/last"}) {
    std::ofstream(at_ / "filler") << std::string(std::size_t{80} << 10, 'x');
    const CommandResult result = run_command(command, folder_->path(), std::chrono::seconds(10));
    EXPECT_EQ(result.status, kFailure) << command << ": " << result.output;
    EXPECT_NE(result.output.find("full/"), std::string::npos) << result.output;
    EXPECT_NE(result.output.find("No space left"), std::string::npos) << result.output;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(at_)) {
      EXPECT_NE(entry.path().extension(), ".h5") << entry.path();
    }
    std::filesystem::remove_all(at_ / "run");
  }
}

TEST_F(Mounts, ReadOnlyFolder) {
  mount_at("read-only", MS_RDONLY, "size=96k");
  if (IsSkipped()) return;
  for (const char* command :
       {"toller prepare --collection good --tokenizer good.tokenizer.json --out read-only/new.h5",
        "toller train --data good.h5 --out read-only/run --steps 1 --global-batch 4",
        "toller fuse --method soup --out read-only/new.h5 run/last run/last",
        "toller wordnet --out read-only/wordnet"}) {
    const CommandResult result = run_command(command, folder_->path(), std::chrono::seconds(10));
    EXPECT_EQ(result.status, kFailure) << command << ": " << result.output;
    EXPECT_NE(result.output.find("read-only/"), std::string::npos) << result.output;
  }
}

}  // namespace
}  // namespace toller
