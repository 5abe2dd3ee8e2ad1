#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/random.h"
#include "common/grammar/schema.h"
#include "common/text/tokenizer.h"
#include "engine/constrain/constraint.h"
#include "tests/common/text/toy_tokenizer.h"
#include "tests/support/json_schema.h"
#include "tests/support/schemas.h"
#include "tests/support/shared_data.h"

namespace baton::engine {
namespace {

std::unique_ptr<text::Tokenizer> Toy() {
  return text::ToyFile{.merges = "[]", .extra_vocabulary = R"(,"\"}":264,"{\"":265,"\":":266,",\"":267)"}
      .Load();
}

std::unique_ptr<text::Tokenizer> Demo() {
  return text::Tokenizer::Load(test::ProjectFile("deploy/demo-model")).value();
}

std::shared_ptr<const TokenTable> TableOf(const text::Tokenizer& tokenizer) {
  auto table = TokenTable::FromTokenizer(tokenizer);
  INFO(table.status().message());
  REQUIRE(table.ok());
  return *table;
}

bool Has(std::span<const std::uint64_t> mask, TokenId token) {
  return ((mask[static_cast<std::size_t>(token) / 64] >> (token % 64)) & 1) != 0;
}

std::vector<TokenId> Allowed(std::span<const std::uint64_t> mask, std::int32_t vocabulary) {
  std::vector<TokenId> out;
  for (TokenId id = 0; id < vocabulary; ++id) {
    if (Has(mask, id)) out.push_back(id);
  }
  return out;
}

/// Random answers through the masks; each that ends is checked. Returns how many ended.
int Walk(const text::Tokenizer& tokenizer, std::string_view schema_text, int walks) {
  const auto table = TableOf(tokenizer);
  const json::Value schema = json::Parse(schema_text).value();
  Constraint constraint(grammar::FromSchema(schema_text).value(), table);
  RandomStream random(3);
  int ended = 0;
  for (int walk = 0; walk < walks; ++walk) {
    ConstraintState state = constraint.Start();
    std::string text;
    for (int length = 0; length < 2000; ++length) {
      if (Constraint::IsComplete(state) && (Constraint::MustEnd(state) || random.Between(0, 3) == 0)) break;
      const std::vector<TokenId> allowed = Allowed(constraint.Mask(state), table->VocabularySize());
      INFO(text);
      REQUIRE_FALSE(allowed.empty());
      // Tokens that close something are taken more often: else a walk rarely ends.
      TokenId token =
          allowed[static_cast<std::size_t>(random.Between(0, static_cast<std::int64_t>(allowed.size()) - 1))];
      for (const TokenId id : allowed) {
        const std::string_view bytes = table->BytesOf(id);
        if ((bytes == "\"" || bytes == "}" || bytes == "]") && random.Between(0, 2) == 0) token = id;
      }
      REQUIRE_FALSE(tokenizer.IsSpecial(token));
      text += table->BytesOf(token);
      state = constraint.Advance(state, token);
      REQUIRE_FALSE(state.empty());
    }
    if (!Constraint::IsComplete(state)) continue;
    const auto value = json::Parse(text);
    INFO(schema_text << "\n" << text);
    REQUIRE(value.ok());
    REQUIRE(test::Validates(*value, schema, schema));
    ++ended;
  }
  return ended;
}

TEST_CASE("random walks through the masks of a toy vocabulary give valid answers") {
  const auto tokenizer = Toy();
  for (const std::string_view schema : test::kSchemas) {
    INFO(schema);
    CHECK(Walk(*tokenizer, schema, 60) > 20);
  }
}

TEST_CASE("random walks through the masks of the demo vocabulary give valid answers") {
  const auto tokenizer = Demo();
  for (const std::string_view schema : test::kSchemas) {
    INFO(schema);
    CHECK(Walk(*tokenizer, schema, 30) > 10);
  }
}

TEST_CASE("a mask is what each token alone says") {
  for (const auto& tokenizer : {Toy(), Demo()}) {
    const auto table = TableOf(*tokenizer);
    for (const std::string_view schema : test::kSchemas) {
      const auto grammar = grammar::FromSchema(schema).value();
      Constraint constraint(grammar, table);
      RandomStream random(5);
      ConstraintState state = constraint.Start();
      for (int step = 0; step < 12 && !Constraint::MustEnd(state); ++step) {
        const std::vector<TokenId> allowed = Allowed(constraint.Mask(state), table->VocabularySize());
        std::vector<TokenId> alone;
        for (TokenId id = 0; id < table->VocabularySize(); ++id) {
          const std::string_view bytes = table->BytesOf(id);
          grammar::KeyMemory keys = state.keys;
          if (!bytes.empty() && !grammar::Feed(*grammar, state.text, bytes).empty() && keys.Read(bytes))
            alone.push_back(id);
        }
        INFO(schema << " step " << step);
        REQUIRE(allowed == alone);
        state = constraint.Advance(state, allowed[static_cast<std::size_t>(random.Between(
                                              0, static_cast<std::int64_t>(allowed.size()) - 1))]);
      }
    }
  }
}

TEST_CASE("a state is made again by replaying the tokens, whatever has been visited before") {
  const auto tokenizer = Demo();
  const auto table = TableOf(*tokenizer);
  const auto grammar = grammar::FromSchema(test::kSchemas[0]).value();
  Constraint used(grammar, table);
  const std::vector<TokenId> tokens =
      tokenizer->Encode(R"({"name": "abc","age":12)", {.add_special_tokens = false}).value();
  ConstraintState state = used.Start();
  for (const TokenId token : tokens) {
    static_cast<void>(used.Mask(state));
    state = used.Advance(state, token);
    REQUIRE_FALSE(state.empty());
  }
  Constraint fresh(grammar, table);
  ConstraintState again = fresh.Start();
  for (const TokenId token : tokens) again = fresh.Advance(again, token);
  CHECK(again == state);
  CHECK(state.text.size() < 256);
  CHECK_FALSE(Constraint::IsComplete(state));
}

/// The state after these bytes, each a token of its own.
ConstraintState After(Constraint& constraint, const text::Tokenizer& tokenizer, std::string_view text) {
  ConstraintState state = constraint.Start();
  for (const char byte : text) {
    state = constraint.Advance(state, *tokenizer.FindToken(std::string(1, byte)));
    INFO(text);
    REQUIRE_FALSE(state.empty());
  }
  return state;
}

TEST_CASE("an object gets no key twice, its members' objects may have the same") {
  const auto tokenizer = Toy();
  const auto table = TableOf(*tokenizer);
  const TokenId quote = *tokenizer->FindToken("\"");
  const TokenId quote_colon = *tokenizer->FindToken("\":");
  for (const auto& grammar :
       {grammar::AnyJsonObject(), grammar::FromSchema(R"({"additionalProperties":true})").value(),
        grammar::FromSchema(R"({"items":{},"type":["array","object"]})").value()}) {
    Constraint constraint(grammar, table);
    for (const std::string_view text :
         {R"({"ab":1,"ab)", R"({"":1,")", R"({"a":{"a":[{"a":1}],"b":2,"a)", R"({"a":"a\"","b":{},"a)"}) {
      INFO(text);
      const ConstraintState state = After(constraint, *tokenizer, text);
      CHECK_FALSE(Has(constraint.Mask(state), quote));
      CHECK_FALSE(Has(constraint.Mask(state), quote_colon));
      CHECK(Has(constraint.Mask(state), *tokenizer->FindToken("x")));
      CHECK(constraint.Advance(state, quote).empty());
    }
    for (const std::string_view text : {R"({"ab":1,"a)", R"({"a":{"a)", R"({"a":{"b":1},"b)",
                                        R"({"a":"b","b)", R"({"a":[{"b":1},{"b)", R"({"a":"b)"}) {
      INFO(text);
      const ConstraintState state = After(constraint, *tokenizer, text);
      CHECK(Has(constraint.Mask(state), quote));
      CHECK_FALSE(constraint.Advance(state, quote).empty());
    }
  }
}

TEST_CASE("a token of two keys, or of a closed object, is looked into") {
  std::vector<std::string> bytes;
  for (char byte = 0x20; byte < 0x7f; ++byte) bytes.emplace_back(1, byte);
  bytes.insert(bytes.end(), {R"({"a":1,"a":)", R"({"a":1,"b":)", R"(},"a":)", R"(},"c":)"});
  const std::vector<std::string_view> tokens(bytes.begin(), bytes.end());
  Constraint constraint(grammar::AnyJsonObject(), TokenTable::FromBytes(tokens).value());
  CHECK_FALSE(Has(constraint.Mask(constraint.Start()), 95));
  CHECK(Has(constraint.Mask(constraint.Start()), 96));
  ConstraintState state = constraint.Start();
  for (const char byte : std::string_view(R"({"a":{"c":1)")) state = constraint.Advance(state, byte - 0x20);
  CHECK_FALSE(Has(constraint.Mask(state), 97));
  CHECK(Has(constraint.Mask(state), 98));
}

TEST_CASE("a token that is not allowed leaves no state, and no special token is allowed") {
  const auto tokenizer = Toy();
  const auto table = TableOf(*tokenizer);
  Constraint constraint(grammar::AnyJsonObject(), table);
  const ConstraintState start = constraint.Start();
  CHECK(constraint.Advance(start, *tokenizer->FindToken("x")).empty());
  CHECK(constraint.Advance(start, *tokenizer->FindToken("<s>")).empty());
  CHECK(constraint.Advance(start, 100'000).empty());
  CHECK(constraint.Advance(start, -1).empty());
  CHECK(Allowed(constraint.Mask(start), table->VocabularySize()).size() == 2);  // '{' and '{"'
}

TEST_CASE("a vocabulary that cannot write ASCII is refused") {
  const std::vector<std::string_view> tokens = {"a", "b", "{", "}"};
  const auto table = TokenTable::FromBytes(tokens);
  REQUIRE_FALSE(table.ok());
  CHECK(std::string(table.status().message()).find("no token for the byte 0x20") != std::string::npos);
}

TEST_CASE("without a token for each byte, tokens of broken characters are left out") {
  std::vector<std::string> bytes;
  for (char byte = 0x20; byte < 0x7f; ++byte) bytes.emplace_back(1, byte);
  bytes.insert(bytes.end(), {"é", "\xc3", "é\xc3", ""});
  const std::vector<std::string_view> tokens(bytes.begin(), bytes.end());
  const auto table = TokenTable::FromBytes(tokens).value();
  CHECK(table->BytesOf(95) == "é");
  for (const TokenId id : {96, 97, 98}) CHECK(table->BytesOf(id).empty());
}

}  // namespace
}  // namespace baton::engine
