#pragma once

#include <cstdint>

/// Counter-based chance: the n-th number of a stream is a pure function of (seed, n), so that a decision can
/// be repeated anywhere from its key alone (sampling that survives a move, policies that can be replayed).
namespace baton {

/// A bijection of 64 bits with good avalanche (the finaliser of SplitMix64: Steele, Lea, Flood, OOPSLA 2014).
[[nodiscard]] constexpr std::uint64_t Mix64(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// 64 bits determined by (seed, counter).
[[nodiscard]] constexpr std::uint64_t CounterBits(std::uint64_t seed, std::uint64_t counter) {
  return Mix64(Mix64(seed) ^ Mix64(counter ^ 0x6a09e667f3bcc909ULL));
}

/// A double in [0, 1) with 53 random bits, determined by (seed, counter).
[[nodiscard]] constexpr double CounterUniform(std::uint64_t seed, std::uint64_t counter) {
  return static_cast<double>(CounterBits(seed, counter) >> 11) * 0x1.0p-53;
}

/// A stream of chance for tests and workload generators: the counter is kept for the caller.
class RandomStream {
 public:
  explicit constexpr RandomStream(std::uint64_t seed) : seed_(seed) {}
  constexpr std::uint64_t Bits() { return CounterBits(seed_, counter_++); }
  constexpr double Uniform() { return CounterUniform(seed_, counter_++); }
  /// A whole number in [low, high], both ends included.
  constexpr std::int64_t Between(std::int64_t low, std::int64_t high) {
    const auto width = static_cast<std::uint64_t>(high - low) + 1;
    return low + static_cast<std::int64_t>(width == 0 ? Bits() : Bits() % width);
  }

 private:
  std::uint64_t seed_;
  std::uint64_t counter_ = 0;
};

}  // namespace baton
