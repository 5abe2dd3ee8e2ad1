#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <absl/container/flat_hash_set.h>
#include <benchmark/benchmark.h>

#include "common/base/check.h"
#include "common/base/random.h"
#include "common/grammar/schema.h"
#include "engine/constrain/constraint.h"

/// Masks over a vocabulary of 128,000 tokens: what one step of a constrained answer costs.
namespace baton::engine {
namespace {

constexpr std::size_t kTokens = 128'000;

/// Words of letters, digits, punctuation of JSON and UTF-8, their lengths as in the vocabularies of published
/// byte-level models, which it stands for: 256 bytes, then words of two bytes and more, half after a space.
std::vector<std::string> Vocabulary() {
  constexpr std::string_view kLetters = "etaoinshrdlucmfwypvbgkjqxz";
  RandomStream random(1);
  std::vector<std::string> words;
  absl::flat_hash_set<std::string> seen;
  const auto add = [&](std::string word) {
    if (seen.insert(word).second) words.push_back(std::move(word));
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(1, static_cast<char>(byte)));
  for (const std::string_view piece :
       {"\"", "\":", "\",", "\"}", "{\"", "[\"", "},", "}]", "\": \"", "\", \"", "],"}) {
    for (const std::string_view tail : {"", " ", "\"", "{", "[", "\n", "}"})
      add(std::string(piece) + std::string(tail));
  }
  while (words.size() < kTokens) {
    std::string word(random.Between(0, 1) == 1 ? " " : "");
    const std::int64_t kind = random.Between(0, 19);
    for (std::int64_t left = random.Between(2, 3) + random.Between(0, 7); left > 0; --left) {
      if (kind == 0) {
        word += static_cast<char>('0' + random.Between(0, 9));
      } else if (kind < 4) {
        word += "\xd0" + std::string(1, static_cast<char>(0xb0 + random.Between(0, 15)));
      } else {
        word += kLetters[static_cast<std::size_t>(random.Between(0, random.Between(3, 25)))];
      }
    }
    if (random.Between(0, 39) == 0) word += random.Between(0, 1) == 1 ? "\"" : "\":";
    add(std::move(word));
  }
  return words;
}

const std::shared_ptr<const TokenTable>& Table() {
  static const std::vector<std::string> words = Vocabulary();
  static const std::shared_ptr<const TokenTable> table =
      TokenTable::FromBytes(std::vector<std::string_view>(words.begin(), words.end())).value();
  return table;
}

constexpr std::string_view kPerson =
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":40},"age":{"type":"integer",)"
    R"("minimum":0,"maximum":150},"tags":{"type":"array","items":{"type":"string"}}},)"
    R"("required":["name","age","tags"],"additionalProperties":false})";

/// A grammar, the beginning of an answer of it, and what may come then.
struct Example {
  std::string_view schema;
  std::string_view begun;
  std::string_view rest;
};
/// By the benchmarks' argument: any object, a person, and patterns, the last of them as ambiguous as they are
/// accepted.
constexpr Example kExamples[] = {
    {grammar::kAnyObjectText, R"({"title":"a","count":12,"items":[{"title":"some)",
     R"(", "b": [1, true, {"c": null}]}]})"},
    {kPerson, R"({"name":"some)", R"(", "age": 41, "tags": ["x", "y", "z"]})"},
    {R"({"pattern":"^[\\w.]+@[a-z]+(?:\\.[a-z]{2,8})+$"})", "\"some", ".body@example.org\""},
    {R"({"pattern":"some.*time"})", "\"some", "where some time ago\""},
    {R"({"pattern":"^(?:.{0,20}){20}$"})", "\"some", "where some time ago\""},
};

const Example& ExampleOf(const benchmark::State& run) {
  return kExamples[run.range(0)];
}

std::shared_ptr<const grammar::Grammar> GrammarOf(const benchmark::State& run) {
  return grammar::FromText(ExampleOf(run).schema).value();
}

ConstraintState After(Constraint& constraint, std::string_view text) {
  ConstraintState state = constraint.Start();
  for (const char byte : text) state = constraint.Advance(std::move(state), static_cast<std::uint8_t>(byte));
  BATON_CHECK(!state.empty());
  return state;
}

/// A mask nobody has asked for before: of a constraint that has seen nothing.
void FirstMask(benchmark::State& run) {
  const auto grammar = GrammarOf(run);
  for (auto step : run) {
    run.PauseTiming();
    auto constraint = std::make_unique<Constraint>(grammar, Table());
    const ConstraintState state = After(*constraint, ExampleOf(run).begun);
    run.ResumeTiming();
    benchmark::DoNotOptimize(constraint->Mask(state).data());
    run.PauseTiming();
    constraint.reset();
    run.ResumeTiming();
  }
}
BENCHMARK(FirstMask)->ArgName("schema")->DenseRange(0, 4)->Unit(benchmark::kMicrosecond);

/// A step of an answer after answers of the same grammar: the mask, and the state after a token.
void Step(benchmark::State& run) {
  Constraint constraint(GrammarOf(run), Table());
  const ConstraintState begun = After(constraint, ExampleOf(run).begun);
  ConstraintState state = begun;
  int length = 0;
  for (auto step : run) {
    benchmark::DoNotOptimize(constraint.Mask(state).data());
    state = constraint.Advance(std::move(state), 'e');
    if (++length == 30) {
      state = begun;
      length = 0;
    }
  }
}
BENCHMARK(Step)->ArgName("schema")->DenseRange(0, 4)->Unit(benchmark::kMicrosecond);

/// A new answer of 40 tokens by a constraint that has seen others: the mean of a step.
void Answer(benchmark::State& run) {
  const auto grammar = GrammarOf(run);
  const std::string text = std::string(ExampleOf(run).begun) + std::string(ExampleOf(run).rest);
  std::int64_t steps = 0;
  for (auto step : run) {
    run.PauseTiming();
    auto constraint = std::make_unique<Constraint>(grammar, Table());
    run.ResumeTiming();
    ConstraintState state = constraint->Start();
    for (const char byte : text) {
      benchmark::DoNotOptimize(constraint->Mask(state).data());
      state = constraint->Advance(std::move(state), static_cast<std::uint8_t>(byte));
      ++steps;
    }
    BATON_CHECK(!state.empty());
    run.PauseTiming();
    constraint.reset();
    run.ResumeTiming();
  }
  run.counters["step_us"] = benchmark::Counter(static_cast<double>(steps) * 1e-6,
                                               benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(Answer)->ArgName("schema")->DenseRange(0, 4)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace baton::engine

BENCHMARK_MAIN();
