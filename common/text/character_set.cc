#include "common/text/character_set.h"

#include "common/text/unicode.h"

namespace baton::text {
namespace {

bool HasProperty(char32_t code, CharacterSet::Property property) {
  static const std::uint32_t kDigits = CategoryNamed("Nd");
  switch (property) {
    case CharacterSet::Property::kWhiteSpace:
      return IsWhiteSpace(code);
    case CharacterSet::Property::kWord:
      return IsWordCharacter(code) && code != 0x200C && code != 0x200D;  // no joiners
    case CharacterSet::Property::kWordAlone:  // also Latin-1's superscripts and fractions
      if (code == 0xB2 || code == 0xB3 || code == 0xB9 || (code >= 0xBC && code <= 0xBE)) return true;
      return HasProperty(code, CharacterSet::Property::kWord);
    case CharacterSet::Property::kDigit:
      return (CategoryBit(code) & kDigits) != 0;
  }
  return false;
}

}  // namespace

void CharacterSet::Seal() {
  for (char32_t code = 0; code < ascii_.size(); ++code) ascii_[code] = LookUp(code);
}

bool CharacterSet::LookUp(char32_t code) const {
  bool has = HasItem(code);
  if (ignore_case_ && !has) {
    const char32_t upper = SimpleUpper(code);
    has = HasItem(upper) || HasItem(SimpleLower(code)) || HasItem(SimpleLower(upper));
  }
  return has != negated_;
}

bool CharacterSet::HasItem(char32_t code) const {
  for (const Item& item : items_) {
    bool has = false;
    switch (item.kind) {
      case Item::Kind::kRange:
        has = code >= item.first && code <= item.last;
        break;
      case Item::Kind::kCategories:
        has = (CategoryBit(code) & item.first) != 0;
        break;
      case Item::Kind::kProperty:
        has = HasProperty(code, static_cast<Property>(item.first));
        break;
      case Item::Kind::kSet:
        has = sets_[item.first].LookUp(code);
        break;
    }
    if (has != item.negated) return true;
  }
  return false;
}

}  // namespace baton::text
