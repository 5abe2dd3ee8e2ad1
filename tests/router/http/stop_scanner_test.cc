#include "router/http/stop_scanner.h"

#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "common/base/random.h"

namespace baton::router {
namespace {

struct Shown {
  std::string text;
  std::string stop;
};

/// Feeds `text` cut at random places.
Shown Scan(const std::vector<std::string>& stops, bool include, std::string_view text, std::uint64_t seed) {
  StopScanner scanner(stops, include);
  RandomStream chance(seed);
  Shown shown;
  while (!text.empty()) {
    const auto length = static_cast<std::size_t>(chance.Between(1, 4));
    const StopScanner::Piece piece = scanner.Push(text.substr(0, length));
    shown.text += piece.text;
    if (piece.stop) {
      shown.stop = *piece.stop;
      return shown;
    }
    text.remove_prefix(std::min(length, text.size()));
  }
  shown.text += scanner.Flush();
  return shown;
}

TEST_CASE("without stop strings everything is shown at once") {
  StopScanner scanner({}, false);
  CHECK(scanner.Push("abc").text == "abc");
  CHECK(scanner.Flush().empty());
}

TEST_CASE("the beginning of a stop string is held back until it is none") {
  StopScanner scanner({"END"}, false);
  CHECK(scanner.Push("aE").text == "a");
  CHECK(scanner.Push("N").text.empty());
  CHECK(scanner.Push("x").text == "ENx");
  CHECK(scanner.Push("EEN").text == "E");
  CHECK(scanner.Flush() == "EN");
}

TEST_CASE("a stop string is never shown, nor anything after it") {
  StopScanner scanner({"END"}, false);
  static_cast<void>(scanner.Push("aE"));
  const auto piece = scanner.Push("NDmore");
  CHECK(piece.text.empty());
  CHECK(piece.stop == "END");
}

TEST_CASE("a stop string that is to be included is shown whole") {
  StopScanner scanner({"END"}, true);
  CHECK(scanner.Push("aEN").text == "a");
  const auto piece = scanner.Push("Dmore");
  CHECK(piece.text == "END");
  CHECK(piece.stop == "END");
}

TEST_CASE("the stop string that is complete first counts, then the longer one") {
  CHECK(Scan({"abc", "b"}, false, "xabcx", 1).text == "xa");
  CHECK(Scan({"c", "abc"}, false, "xabcx", 1).text == "x");
  CHECK(Scan({"c", "abc"}, false, "xabcx", 1).stop == "abc");
}

TEST_CASE("how the text was cut does not matter") {
  const std::vector<std::string> stops = {"aab", "ba", "\n\n", "abab"};
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    RandomStream chance(seed);
    std::string text;
    for (std::int64_t n = chance.Between(0, 12); n > 0; --n) text += "aab\nc"[chance.Between(0, 4)];
    CAPTURE(seed, text);
    const Shown whole = Scan(stops, false, text, 0);
    for (std::uint64_t cut = 1; cut < 8; ++cut) {
      const Shown pieces = Scan(stops, false, text, seed * 100 + cut);
      CHECK(pieces.text == whole.text);
      CHECK(pieces.stop == whole.stop);
    }
    for (const std::string& stop : stops) CHECK(whole.text.find(stop) == std::string::npos);
  }
}

}  // namespace
}  // namespace baton::router
