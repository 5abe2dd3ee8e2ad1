#include "common/base/ids.h"

#include <sys/random.h>

#include "common/base/check.h"

namespace baton {

std::uint64_t RandomBits() {
  std::uint64_t bits = 0;
  const ssize_t got = getrandom(&bits, sizeof bits, 0);
  BATON_CHECK(got == sizeof bits, "getrandom returned {}", got);
  return bits;
}

Incarnation NewIncarnation() {
  std::uint64_t bits = 0;
  while (bits == 0) bits = RandomBits();  // 0 means "none"
  return Incarnation(bits);
}

TransferId NewTransferId() {
  return {.high = RandomBits(), .low = RandomBits()};
}

}  // namespace baton
