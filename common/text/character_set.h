#pragma once

#include <bitset>
#include <cstdint>
#include <utility>
#include <vector>

namespace baton::text {

/// A set of characters, as a class of a regular expression writes it down. Built once, then only read.
class CharacterSet {
 public:
  enum class Property {
    kWhiteSpace,
    kWord,
    kWordAlone,  // \w outside of brackets, which in Oniguruma is a little more
    kDigit,
  };

  void AddRange(char32_t low, char32_t high) { items_.push_back({Item::Kind::kRange, false, low, high}); }
  /// General categories, as bits of `CategoryBit`.
  void AddCategories(std::uint32_t bits, bool negated) {
    items_.push_back({Item::Kind::kCategories, negated, bits, 0});
  }
  void AddProperty(Property property, bool negated) {
    items_.push_back({Item::Kind::kProperty, negated, static_cast<std::uint32_t>(property), 0});
  }
  /// Everything that is in `other`, a class within the class.
  void AddSet(CharacterSet other) {
    items_.push_back({Item::Kind::kSet, false, static_cast<std::uint32_t>(sets_.size()), 0});
    sets_.push_back(std::move(other));
  }
  /// Turns the set into what it lacks, also for what is added later.
  void Negate() { negated_ = !negated_; }
  /// From here on, a character is in the set where its upper or lower case is.
  void IgnoreCase() { ignore_case_ = true; }
  /// Nothing may be added any more.
  void Seal();

  [[nodiscard]] bool Has(char32_t code) const { return code < ascii_.size() ? ascii_[code] : LookUp(code); }

 private:
  struct Item {
    enum class Kind { kRange, kCategories, kProperty, kSet };
    Kind kind = Kind::kRange;
    bool negated = false;
    std::uint32_t first = 0;  // of a range; or bits; or a Property; or the place in sets_
    std::uint32_t last = 0;
  };
  [[nodiscard]] bool LookUp(char32_t code) const;
  [[nodiscard]] bool HasItem(char32_t code) const;

  std::vector<Item> items_;
  std::vector<CharacterSet> sets_;
  bool negated_ = false;
  bool ignore_case_ = false;
  std::bitset<128> ascii_;
};

}  // namespace baton::text
