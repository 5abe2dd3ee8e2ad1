#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <absl/container/flat_hash_set.h>

#include "common/base/check.h"
#include "common/text/jinja/lexer.h"

namespace baton::text::jinja {

/// The tokens of a template, read one after the other. The last is kEnd and is never passed.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
    BATON_CHECK(!tokens_.empty() && tokens_.back().kind == Token::Kind::kEnd);
    for (std::size_t i = 2; i < tokens_.size(); ++i) {
      const bool tag = tokens_[i - 2].kind == Token::Kind::kStatementBegin;
      if (tag && tokens_[i - 1].text == "macro") macros_.insert(tokens_[i].text);
    }
  }

  [[nodiscard]] const Token& Peek() const { return tokens_[at_]; }
  [[nodiscard]] const Token& PeekSecond() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token Next() {
    Token token = tokens_[at_];
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }

  /// Whether some {% macro name ... %} is in the template.
  [[nodiscard]] bool DefinesMacro(const std::string& name) const { return macros_.contains(name); }
  [[nodiscard]] bool AtOperator(std::string_view spelling) const {
    return Peek().kind == Token::Kind::kOperator && Peek().text == spelling;
  }
  [[nodiscard]] bool AtName(std::string_view name) const {
    return Peek().kind == Token::Kind::kName && Peek().text == name;
  }
  /// Passes the operator where it comes next.
  bool SkipOperator(std::string_view spelling) {
    if (!AtOperator(spelling)) return false;
    Next();
    return true;
  }
  bool SkipName(std::string_view name) {
    if (!AtName(name)) return false;
    Next();
    return true;
  }
  /// "'+'" or "the end of the tag": what comes next, for messages.
  [[nodiscard]] std::string Describe() const;
  /// Passes the operator or says what stands in its place.
  [[nodiscard]] absl::Status ExpectOperator(std::string_view spelling);

 private:
  std::vector<Token> tokens_;
  absl::flat_hash_set<std::string> macros_;
  std::size_t at_ = 0;
};

}  // namespace baton::text::jinja
