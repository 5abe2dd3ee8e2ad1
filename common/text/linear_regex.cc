#include "common/text/linear_regex.h"

#include <optional>
#include <tuple>
#include <utility>

#include "common/base/error.h"
#include "common/base/utf8.h"
#include "common/text/unicode.h"

namespace baton::text {
namespace {

using Kind = RegexNode::Kind;

constexpr std::size_t kMaxProgram = 4000;
// One bit for each split and place: the largest known pattern has some forty splits.
constexpr std::uint64_t kMaxMemoBits = std::uint64_t{1} << 32;

/// The first byte of the character that ends at `end`.
std::size_t CharacterBefore(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (begin > 0 && (static_cast<std::uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return begin;
}

}  // namespace

std::shared_ptr<const LinearRegex> LinearRegex::Compile(std::string_view regex) {
  auto tree = ParseRegex(regex);
  if (!tree) return nullptr;
  auto compiled = std::make_shared<LinearRegex>();
  const auto root = static_cast<std::uint32_t>(tree->nodes.size() - 1);
  if (!compiled->Emit(*tree, root)) return nullptr;
  compiled->EmitOne({.op = Instruction::Op::kMatch});
  compiled->sets_ = std::move(tree->sets);
  return compiled;
}

std::uint32_t LinearRegex::EmitOne(const Instruction& instruction) {
  program_.push_back(instruction);
  return static_cast<std::uint32_t>(program_.size() - 1);
}

std::uint32_t LinearRegex::EmitSplit() {
  return EmitOne({.op = Instruction::Op::kSplit, .memo = split_count_++});
}

bool LinearRegex::Emit(const RegexTree& tree, std::uint32_t index) {
  using Op = Instruction::Op;
  if (program_.size() > kMaxProgram) return false;
  const RegexNode& node = tree.nodes[index];
  const auto here = [&] { return static_cast<std::uint32_t>(program_.size()); };
  switch (node.kind) {
    case Kind::kEmpty:
      return true;
    case Kind::kSet:
      EmitOne({.op = Op::kSet, .a = node.set});
      return true;
    case Kind::kSequence:
      for (const std::uint32_t child : node.children) {
        if (!Emit(tree, child)) return false;
      }
      return true;
    case Kind::kAlternatives: {
      std::vector<std::uint32_t> jumps;
      for (std::size_t i = 0; i < node.children.size(); ++i) {
        const bool last = i + 1 == node.children.size();
        const std::uint32_t split = last ? 0 : EmitSplit();
        if (!last) program_[split].a = here();
        if (!Emit(tree, node.children[i])) return false;
        if (last) break;
        jumps.push_back(EmitOne({.op = Op::kJump}));
        program_[split].b = here();
      }
      for (const std::uint32_t jump : jumps) program_[jump].a = here();
      return true;
    }
    case Kind::kRepeat:
      return EmitRepeat(tree, node);
    default:
      EmitOne({.op = Op::kAssert, .a = node.set, .look = node.kind, .negated = node.negated});
      return true;
  }
}

bool LinearRegex::EmitRepeat(const RegexTree& tree, const RegexNode& node) {
  using Op = Instruction::Op;
  const std::uint32_t child = node.children[0];
  const auto here = [&] { return static_cast<std::uint32_t>(program_.size()); };
  if (node.possessive) {
    const bool one = node.max == 1;
    EmitOne({.op = one ? Op::kTakeOne : Op::kRun,
             .a = tree.nodes[child].set,
             .b = node.min,
             .memo = one ? 0 : split_count_++});
    return true;
  }
  for (std::uint32_t i = 0; i < node.min; ++i) {
    if (!Emit(tree, child)) return false;
  }
  std::vector<std::uint32_t> splits;
  const auto enter = [&] {
    splits.push_back(EmitSplit());
    (node.lazy ? program_[splits.back()].b : program_[splits.back()].a) = here();
    return Emit(tree, child);
  };
  if (node.max == RegexNode::kEndless) {
    const std::uint32_t loop = here();
    if (!enter()) return false;
    EmitOne({.op = Op::kJump, .a = loop});
  } else {
    for (std::uint32_t i = node.min; i < node.max; ++i) {
      if (!enter()) return false;
    }
  }
  for (const std::uint32_t split : splits) (node.lazy ? program_[split].a : program_[split].b) = here();
  return program_.size() <= kMaxProgram;
}

/// One text being searched.
class LinearMatcher {
 public:
  LinearMatcher(const LinearRegex& regex, std::string_view text)
      : regex_(regex), text_(text), memo_((regex.split_count_ * (text.size() + 1) + 63) / 64) {}

  /// The end of the match that begins at `begin`.
  std::optional<std::size_t> MatchAt(std::size_t begin);
  [[nodiscard]] std::uint64_t Steps() const { return steps_; }

 private:
  using Instruction = LinearRegex::Instruction;
  /// The length of the character at `at` if it is one of the set, else 0.
  [[nodiscard]] std::size_t LengthIn(std::uint32_t set, std::size_t at) const;
  [[nodiscard]] bool Holds(const Instruction& instruction, std::size_t at) const;
  [[nodiscard]] bool IsWordAt(std::size_t at) const;
  /// Whether the split is new at this place.
  bool Note(std::uint32_t split, std::size_t at);
  void Forget(std::size_t at);

  const LinearRegex& regex_;
  std::string_view text_;
  std::vector<std::uint64_t> memo_;
  std::vector<std::pair<std::uint32_t, std::size_t>> left_to_try_;
  std::uint64_t steps_ = 0;
};

std::size_t LinearMatcher::LengthIn(std::uint32_t set, std::size_t at) const {
  if (at == text_.size()) return 0;
  const auto byte = static_cast<std::uint8_t>(text_[at]);
  if (byte < 0x80) return regex_.sets_[set].Has(byte) ? 1 : 0;
  const Utf8Step step = NextUtf8(text_.substr(at));
  return regex_.sets_[set].Has(step.code) ? step.length : 0;
}

bool LinearMatcher::IsWordAt(std::size_t at) const {
  static const CharacterSet kWord = [] {
    CharacterSet set;
    set.AddProperty(CharacterSet::Property::kWordAlone, false);
    set.Seal();
    return set;
  }();
  return at < text_.size() && kWord.Has(NextUtf8(text_.substr(at)).code);
}

bool LinearMatcher::Holds(const Instruction& instruction, std::size_t at) const {
  switch (instruction.look) {
    case Kind::kAhead:
      return (LengthIn(instruction.a, at) > 0) != instruction.negated;
    case Kind::kBehind:
      return (at > 0 && LengthIn(instruction.a, CharacterBefore(text_, at)) > 0) != instruction.negated;
    case Kind::kLineBegin:  // Ruby's: not after a line end that ends the text
      return at == 0 || (text_[at - 1] == '\n' && at < text_.size());
    case Kind::kLineEnd:
      return at == text_.size() || text_[at] == '\n';
    case Kind::kTextBegin:
      return at == 0;
    case Kind::kTextEnd:
      return at == text_.size();
    case Kind::kWordEdge: {
      const bool before = at > 0 && IsWordAt(CharacterBefore(text_, at));
      return (before != IsWordAt(at)) != instruction.negated;
    }
    default:
      return false;
  }
}

bool LinearMatcher::Note(std::uint32_t split, std::size_t at) {
  const std::uint64_t bit = std::uint64_t{at} * regex_.split_count_ + split;
  std::uint64_t& word = memo_[bit / 64];
  const std::uint64_t mask = std::uint64_t{1} << (bit % 64);
  if ((word & mask) != 0) return false;
  word |= mask;
  return true;
}

void LinearMatcher::Forget(std::size_t at) {
  for (std::uint32_t split = 0; split < regex_.split_count_; ++split) {
    const std::uint64_t bit = std::uint64_t{at} * regex_.split_count_ + split;
    memo_[bit / 64] &= ~(std::uint64_t{1} << (bit % 64));
  }
}

// A split that was tried at a place and did not lead to a match never will: what follows does not depend on
// how it was reached. Those that did lead to the match lie before its end or at it, and the next match begins
// there: they are forgotten.
std::optional<std::size_t> LinearMatcher::MatchAt(std::size_t begin) {
  using Op = Instruction::Op;
  left_to_try_.clear();
  std::uint32_t next = 0;
  std::size_t at = begin;
  for (;;) {
    ++steps_;
    const Instruction& instruction = regex_.program_[next];
    bool failed = false;
    switch (instruction.op) {
      case Op::kSet: {
        const std::size_t length = LengthIn(instruction.a, at);
        failed = length == 0;
        at += length;
        ++next;
        break;
      }
      case Op::kRun: {
        const std::size_t run_begin = at;
        // A run that was begun before and led to no match: neither will the rest of it.
        failed = !Note(instruction.memo, at);
        for (std::size_t length; !failed && (length = LengthIn(instruction.a, at)) > 0; ++steps_) {
          at += length;
          failed = !Note(instruction.memo, at);
        }
        failed = failed || (instruction.b > 0 && at == run_begin);
        ++next;
        break;
      }
      case Op::kTakeOne:
        at += LengthIn(instruction.a, at);
        ++next;
        break;
      case Op::kSplit:
        failed = !Note(instruction.memo, at);
        if (!failed) left_to_try_.emplace_back(instruction.b, at);
        next = instruction.a;
        break;
      case Op::kJump:
        next = instruction.a;
        break;
      case Op::kAssert:
        failed = !Holds(instruction, at);
        ++next;
        break;
      case Op::kMatch:
        Forget(at);
        return at;
    }
    if (!failed) continue;
    if (left_to_try_.empty()) return std::nullopt;
    std::tie(next, at) = left_to_try_.back();
    left_to_try_.pop_back();
  }
}

absl::Status LinearRegex::Find(std::string_view text, std::vector<TextPart>& parts, Effort& effort) const {
  if ((text.size() + 1) * split_count_ > kMaxMemoBits)
    return Error(kResourceExhausted, "splitting a text of {} bytes needs too much memory", text.size());
  LinearMatcher matcher(*this, text);
  std::size_t covered = 0;
  std::size_t begin = 0;
  bool matched = false;  // there was one, and `covered` is its end
  while (begin <= text.size()) {
    const auto end = matcher.MatchAt(begin);
    // No match of nothing right after a match.
    if (end && (*end > begin || !matched || begin > covered)) {
      if (begin > covered) parts.push_back({covered, begin, false});
      parts.push_back({begin, *end, true});
      matched = true;
      covered = *end;
      if (*end > begin) {
        begin = *end;
        continue;
      }
    }
    begin += begin == text.size() ? 1 : NextUtf8(text.substr(begin)).length;
  }
  if (covered < text.size()) parts.push_back({covered, text.size(), false});
  effort.steps += matcher.Steps();
  return absl::OkStatus();
}

}  // namespace baton::text
