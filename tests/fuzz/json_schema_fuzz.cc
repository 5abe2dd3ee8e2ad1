#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/check.h"
#include "common/grammar/grammar.h"
#include "common/grammar/key_memory.h"
#include "common/grammar/schema.h"

/// A schema, and after a zero byte what steers a walk: from every state of an accepted schema some byte leads
/// on, also where no key may come twice, or the text is complete, and the state's bytes are a state.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton::grammar;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = text.find('\0');
  const auto grammar = FromSchema(text.substr(0, cut));
  if (!grammar.ok()) return 0;
  const std::string_view steering = cut == std::string_view::npos ? std::string_view() : text.substr(cut + 1);
  State state = Initial(**grammar);
  KeyMemory keys;
  for (std::size_t step = 0; step <= steering.size() && step < 64; ++step) {
    BATON_CHECK(IsState(**grammar, state) && !state.empty());
    if (MustEnd(state)) return 0;
    const unsigned wish = step < steering.size() ? static_cast<std::uint8_t>(steering[step]) : 0;
    State next;
    for (unsigned i = 0; i < 256 && next.empty(); ++i) {
      const char byte = static_cast<char>(wish + i);
      if (keys.WouldRepeat(std::string_view(&byte, 1))) continue;
      next = Step(**grammar, state, static_cast<std::uint8_t>(byte));
      if (!next.empty()) BATON_CHECK(keys.Read(std::string_view(&byte, 1)));
    }
    BATON_CHECK(!next.empty() || IsComplete(state));
    if (next.empty()) return 0;
    state = std::move(next);
  }
  return 0;
}
