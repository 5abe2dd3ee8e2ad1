#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <absl/status/status.h>

#include "common/text/effort.h"
#include "common/text/regex_syntax.h"
#include "common/text/text_parts.h"

namespace baton::text {

/// Finds the matches of a regular expression as a backtracking matcher does, but never twice in the same
/// state at the same place: linear in the text for any expression. Immutable; safe to share between threads.
class LinearRegex {
 public:
  /// Null where `regex` is nothing that can be matched so; see `ParseRegex`.
  [[nodiscard]] static std::shared_ptr<const LinearRegex> Compile(std::string_view regex);

  /// Appends all of `text`, valid UTF-8, as matches and what lies between; adds the steps it took to
  /// `effort`. ResourceExhausted where the text needs too much memory.
  [[nodiscard]] absl::Status Find(std::string_view text, std::vector<TextPart>& parts, Effort& effort) const;

 private:
  friend class LinearMatcher;
  struct Instruction {
    enum class Op {
      kSet,      // a character of set `a`
      kRun,      // as many of them as there are, at least `b`, 0 or 1; `memo` is its number
      kTakeOne,  // one of them, if there is one
      kSplit,    // go on at `a`; should that fail, at `b`; `memo` is its number
      kJump,     // go on at `a`
      kAssert,   // `look` holds here, of set `a`
      kMatch,
    };
    Op op = Op::kMatch;
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    std::uint32_t memo = 0;
    RegexNode::Kind look = RegexNode::Kind::kEmpty;
    bool negated = false;
  };
  /// Whether the expression fits.
  bool Emit(const RegexTree& tree, std::uint32_t index);
  bool EmitRepeat(const RegexTree& tree, const RegexNode& node);
  std::uint32_t EmitSplit();
  std::uint32_t EmitOne(const Instruction& instruction);

  std::vector<CharacterSet> sets_;
  std::vector<Instruction> program_;
  std::uint32_t split_count_ = 0;
};

}  // namespace baton::text
