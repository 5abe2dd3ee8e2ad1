#include "common/text/tokenizer_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <fmt/ranges.h>

#include "common/base/error.h"
#include "common/text/spec_fields.h"

namespace baton::text {
namespace {

template <typename... Args>
absl::Status ConfigError(fmt::format_string<Args...> format, Args&&... args) {
  return Error(kInvalidArgument, "tokenizer_config.json: {}",
               fmt::format(format, std::forward<Args>(args)...));
}

/// A token given as its text or as an object with "content"; null where there is none.
const std::string* TokenText(const json::Value* token) {
  if (token != nullptr && token->AsObject() != nullptr) token = token->Find("content");
  return token == nullptr ? nullptr : token->AsString();
}

/// Whether the file gives the token a part to play, which makes it special.
bool IsNamed(const json::Value& config, std::string_view text) {
  static constexpr std::string_view kParts[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                "pad_token", "cls_token", "mask_token"};
  return std::ranges::any_of(kParts, [&](std::string_view part) {
    const std::string* named = TokenText(config.Find(part));
    return named != nullptr && *named == text;
  });
}

absl::StatusOr<AddedToken> ReadToken(const json::Value& entry, const std::string& field) {
  const std::string* content = TokenText(&entry);
  if (content == nullptr || content->empty() || content->size() > kMaxAddedTokenBytes)
    return ConfigError("{}: 'content' of 1 to {} bytes expected", field, kMaxAddedTokenBytes);
  AddedToken token{.content = *content};
  std::optional<bool> normalized;
  for (const auto& [key, value] : *entry.AsObject()) {
    bool* flag = key == "single_word" ? &token.single_word
                 : key == "lstrip"    ? &token.lstrip
                 : key == "rstrip"    ? &token.rstrip
                 : key == "special"   ? &token.special
                                      : nullptr;
    if ((flag == nullptr && key != "normalized") || value.IsNull()) continue;
    if (value.AsBool() == nullptr)
      return ConfigError("{}.{}: boolean expected, {} found", field, key, value.KindName());
    if (flag == nullptr) normalized = *value.AsBool();
    if (flag != nullptr) *flag = *value.AsBool();
  }
  token.normalized = normalized.value_or(!token.special);
  return token;
}

/// The entries of `added_tokens_decoder` by their ids.
absl::StatusOr<std::map<TokenId, AddedToken>> ReadTokens(const json::Value& config) {
  std::map<TokenId, AddedToken> tokens;
  const json::Value* table = FindField(config, "added_tokens_decoder");
  if (table == nullptr) return tokens;
  if (table->AsObject() == nullptr)
    return ConfigError("added_tokens_decoder: object expected, {} found", table->KindName());
  if (table->AsObject()->size() > kMaxVocabulary)
    return ConfigError("added_tokens_decoder: more than {} tokens", kMaxVocabulary);
  for (const auto& [key, entry] : *table->AsObject()) {
    const std::string field = fmt::format("added_tokens_decoder['{}']", key);
    TokenId id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id > kMaxTokenId)
      return ConfigError("{}: an id of 0 to {} expected", field, kMaxTokenId);
    if (entry.AsObject() == nullptr)
      return ConfigError("{}: object expected, {} found", field, entry.KindName());
    BATON_ASSIGN_OR_RETURN(AddedToken token, ReadToken(entry, field));
    token.id = id;
    token.special = token.special || IsNamed(config, token.content);
    if (!tokens.emplace(id, std::move(token)).second) return ConfigError("{}: the id comes twice", field);
  }
  return tokens;
}

/// Reads the file into `spec` and remembers what it changed.
class Application {
 public:
  Application(const json::Value& config, TokenizerSpec& spec) : config_(config), spec_(spec) {
    for (const auto& [text, id] : spec.model.vocabulary) Know(text, id);
    for (std::size_t i = 0; i < spec.added.size(); ++i) {
      Know(spec.added[i].content, spec.added[i].id);
      place_.emplace(spec.added[i].content, i);
    }
  }

  /// As model libraries do: what it says of a token counts, but the token's id is tokenizer.json's where it
  /// has one there. Else the file's id counts, also behind a gap, where those libraries take the next free
  /// one.
  absl::Status AddTokens() {
    BATON_ASSIGN_OR_RETURN(const auto tokens, ReadTokens(config_));
    for (const auto& [id, entry] : tokens) {
      AddedToken token = entry;
      if (const auto known = ids_.find(token.content); known != ids_.end()) {
        token.id = known->second;
      } else if (taken_.contains(id)) {
        return ConfigError("added_tokens_decoder['{}']: the id of '{}' is another token's in tokenizer.json",
                           id, token.content);
      }
      Know(token.content, token.id);
      Put(std::move(token));
    }
    return absl::OkStatus();
  }

  /// `add_bos_token` and `add_eos_token`. The classes named here make their template from the two, whatever
  /// the post-processor says; elsewhere they count where the post-processor has no template of its own.
  absl::Status AddEnds() {
    static constexpr std::string_view kOwnTemplate[] = {"LlamaTokenizer",     "LlamaTokenizerFast",
                                                        "CodeLlamaTokenizer", "CodeLlamaTokenizerFast",
                                                        "GemmaTokenizer",     "GemmaTokenizerFast"};
    const json::Value* name = config_.Find("tokenizer_class");
    const bool own = name != nullptr && name->AsString() != nullptr &&
                     std::ranges::find(kOwnTemplate, *name->AsString()) != std::end(kOwnTemplate);
    if (spec_.has_template && !own) return absl::OkStatus();
    for (const auto& [flag, key, ids] : {std::tuple("add_bos_token", "bos_token", &spec_.before),
                                         std::tuple("add_eos_token", "eos_token", &spec_.after)}) {
      const json::Value* add = config_.Find(flag);
      if (add == nullptr || add->AsBool() == nullptr) continue;
      std::vector<TokenId> wanted;
      if (*add->AsBool()) {
        const std::string* text = TokenText(config_.Find(key));
        const auto known = text == nullptr ? ids_.end() : ids_.find(*text);
        if (known == ids_.end())
          return ConfigError("{} is true, but {} is no token of tokenizer.json", flag, key);
        wanted.push_back(known->second);
      }
      if (*ids == wanted) continue;
      *ids = std::move(wanted);
      changes_ += fmt::format(" {} {}", flag, fmt::join(*ids, " "));
    }
    return absl::OkStatus();
  }

  absl::Status ReadLimit() {
    // Where there is no limit, 10^30 is written.
    const json::Value* most = config_.Find("model_max_length");
    if (most == nullptr || !most->IsNumber()) return absl::OkStatus();
    if (!(most->Number() >= 1))
      return ConfigError("model_max_length {} is no positive number", most->Number());
    if (most->Number() < 1e9) {
      const auto tokens = static_cast<std::int64_t>(most->Number());
      spec_.tokens_max = std::min(tokens, spec_.tokens_max.value_or(tokens));
    }
    return absl::OkStatus();
  }

  [[nodiscard]] const std::string& Changes() const { return changes_; }

 private:
  void Know(const std::string& text, TokenId id) {
    ids_.emplace(text, id);
    taken_.insert(id);
  }

  void Put(AddedToken token) {
    const auto flags = [](const AddedToken& each) {
      return std::array{each.single_word, each.lstrip, each.rstrip, each.normalized, each.special};
    };
    const auto [place, fresh] = place_.try_emplace(token.content, spec_.added.size());
    if (!fresh && flags(spec_.added[place->second]) == flags(token)) return;
    changes_ += fmt::format(" {} {} {}", token.id, token.content, fmt::join(flags(token), " "));
    if (fresh) spec_.added.emplace_back();
    spec_.added[place->second] = std::move(token);
  }

  const json::Value& config_;
  TokenizerSpec& spec_;
  absl::flat_hash_map<std::string, TokenId> ids_;
  absl::flat_hash_set<TokenId> taken_;
  absl::flat_hash_map<std::string, std::size_t> place_;  // in spec.added
  std::string changes_;
};

}  // namespace

absl::StatusOr<std::string> ApplyTokenizerConfig(const json::Value& config, TokenizerSpec& spec) {
  Application application(config, spec);
  BATON_RETURN_IF_ERROR(application.AddTokens());
  BATON_RETURN_IF_ERROR(application.AddEnds());
  BATON_RETURN_IF_ERROR(application.ReadLimit());
  return application.Changes();
}

}  // namespace baton::text
