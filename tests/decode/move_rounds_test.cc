#include "decode/move_rounds.h"

#include <catch2/catch.hpp>

namespace baton::decode {
namespace {

constexpr double kGigabyte = 1e9;  // a second

/// Blocks of 16 positions and 1 MiB: one takes about a millisecond.
MoveRounds Rounds(std::int64_t positions_max = 100'000) {
  return {{}, 16, 1 << 20, positions_max};
}

TEST_CASE("another round is sent while more has become full than may be sent standing still") {
  MoveRounds rounds = Rounds();
  rounds.Sent(1600);

  CHECK_FALSE(rounds.MustPause(1600 + 5 * 16, kGigabyte));
  rounds.Sent(1680);
  CHECK(rounds.MustPause(1680 + 15, kGigabyte));
  CHECK(rounds.Rounds() == 2);
}

TEST_CASE("an answer stands still where the rest takes less than the bound, the unfinished block among it") {
  MoveRounds rounds = Rounds();
  rounds.Sent(1600);

  CHECK(rounds.MustPause(1616, kGigabyte));        // one block
  CHECK_FALSE(rounds.MustPause(1617, kGigabyte));  // one, and one that is begun: 2.1 ms
  CHECK(rounds.MustPause(1617, 2 * kGigabyte));
}

TEST_CASE("a round of nothing is not sent, however slow the link") {
  MoveRounds rounds = Rounds();
  rounds.Sent(1600);

  CHECK(rounds.MustPause(1615, 1.0));
  CHECK(rounds.MustPause(1600, 0.0));
}

TEST_CASE("rounds that do not get shorter end after the last one") {
  MoveRounds rounds = Rounds();
  std::int64_t positions = 1600;
  for (int i = 0; i < 4; ++i) {
    if (i > 0) CHECK_FALSE(rounds.MustPause(positions, kGigabyte));
    rounds.Sent(positions);
    positions += 800;
  }
  CHECK(rounds.MustPause(positions, kGigabyte));
}

TEST_CASE("an answer stands still before it outgrows what was reserved for it") {
  MoveRounds rounds = Rounds(/*positions_max=*/2000);
  rounds.Sent(1600);

  CHECK_FALSE(rounds.NearEnd(1991));
  CHECK(rounds.NearEnd(1992));
  CHECK_FALSE(rounds.MustPause(1980, kGigabyte));
  CHECK(rounds.MustPause(1992, kGigabyte));
}

}  // namespace
}  // namespace baton::decode
