#include "common/text/jinja/token_stream.h"

namespace baton::text::jinja {

std::string TokenStream::Describe() const {
  switch (Peek().kind) {
    case Token::Kind::kText:
      return "text";
    case Token::Kind::kOutputBegin:
    case Token::Kind::kStatementBegin:
      return "a tag";
    case Token::Kind::kOutputEnd:
    case Token::Kind::kStatementEnd:
      return "the end of the tag";
    case Token::Kind::kString:
      return "a string";
    case Token::Kind::kName:
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
    case Token::Kind::kOperator:
      return "'" + Peek().text + "'";
    case Token::Kind::kEnd:
      return "the end of the template";
  }
  BATON_CHECK(false, "no such token");
}

absl::Status TokenStream::ExpectOperator(std::string_view spelling) {
  if (SkipOperator(spelling)) return absl::OkStatus();
  return TemplateError(Peek().at, "'{}' expected, {} found", spelling, Describe());
}

}  // namespace baton::text::jinja
