#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <absl/container/flat_hash_map.h>

#include "common/base/ids.h"
#include "common/grammar/grammar.h"
#include "common/grammar/key_memory.h"
#include "engine/constrain/token_table.h"

namespace baton::engine {

/// Where a constrained answer stands. A function of the grammar and of the answer's tokens: whoever replays
/// those through `Constraint::Advance` has the same.
struct ConstraintState {
  grammar::State text;      // empty: the answer is no beginning of a text
  grammar::KeyMemory keys;  // of grammars with free keys; else as it began
  [[nodiscard]] bool empty() const { return text.empty(); }
  friend bool operator==(const ConstraintState&, const ConstraintState&) = default;
};

/// Which tokens may come next in an answer that has to be a text of a grammar. The answers below depend on
/// the arguments alone; what is kept between calls (masks, and the automaton as far as it has been visited)
/// only makes them quick, and is dropped whole when it is `kStatesMax` large. Belongs to one thread.
class Constraint {
 public:
  Constraint(std::shared_ptr<const grammar::Grammar> grammar, std::shared_ptr<const TokenTable> table);

  [[nodiscard]] ConstraintState Start() const { return {.text = grammar::Initial(*grammar_), .keys = {}}; }
  /// After one more token. Empty where it was not allowed; tokens that end the text leave the state as it is
  /// and are not given to this.
  [[nodiscard]] ConstraintState Advance(ConstraintState state, TokenId token);
  /// One bit a token, token 0 in the lowest bit of the first word: those that continue the text. Without the
  /// end tokens: `IsComplete` says whether they may come. Valid until the next call.
  [[nodiscard]] std::span<const std::uint64_t> Mask(const ConstraintState& state);
  [[nodiscard]] static bool IsComplete(const ConstraintState& state) {
    return grammar::IsComplete(state.text);
  }
  [[nodiscard]] static bool MustEnd(const ConstraintState& state) { return grammar::MustEnd(state.text); }

 private:
  // About 1 KiB a visited state, and a bit a token for those with a mask.
  static constexpr std::size_t kStatesMax = 4096;
  static constexpr std::size_t kMasksMax = 256;
  // Longer tokens are few; each byte takes the state behind it to be looked at.
  static constexpr std::int32_t kPlainRunMax = 16;
  static constexpr std::int32_t kUnknown = -2;
  static constexpr std::int32_t kDead = -1;

  struct Visited {
    grammar::State state;
    std::array<std::int32_t, 256> next;
    std::int32_t plain_run = kUnknown;
  };

  std::int32_t IdOf(grammar::State state);
  std::int32_t Next(std::int32_t id, std::uint8_t byte);
  std::int32_t PlainNext(std::int32_t id);
  /// How many plain bytes, whichever they are, may follow for sure; at most `kPlainRunMax`.
  std::int32_t PlainRun(std::int32_t id);
  std::vector<std::uint64_t> Walk(std::int32_t start);
  std::span<const std::uint64_t> WithoutRepeats(std::span<const std::uint64_t> mask,
                                                const grammar::KeyMemory& keys);
  void Forget();

  std::shared_ptr<const grammar::Grammar> grammar_;
  std::shared_ptr<const TokenTable> table_;
  std::vector<std::unique_ptr<Visited>> visited_;
  absl::flat_hash_map<std::string, std::int32_t> ids_;
  absl::flat_hash_map<std::string, std::vector<std::uint64_t>> masks_;
  std::vector<std::uint64_t> without_repeats_;  // of the last call
  grammar::KeyMemory keys_;                     // room to try tokens in
};

}  // namespace baton::engine
