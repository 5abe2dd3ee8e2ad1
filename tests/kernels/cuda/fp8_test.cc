#include "kernels/cuda/fp8.h"

#include <catch2/catch.hpp>

#include <limits>

namespace baton::kernels::cuda {
namespace {

TEST_CASE("every 8-bit float is what it stands for, and comes back") {
  // The format's own words: 4 bits of exponent with a bias of 7, 3 of fraction, no infinity.
  CHECK(FromFp8(0x00) == 0);
  CHECK(FromFp8(0x01) == 0x1p-9F);
  CHECK(FromFp8(0x08) == 0x1p-6F);
  CHECK(FromFp8(0x38) == 1);
  CHECK(FromFp8(0x39) == 1.125F);
  CHECK(FromFp8(0x7e) == 448);
  CHECK(FromFp8(0xfe) == -448);
  CHECK(std::isnan(FromFp8(0x7f)));
  for (int bits = 0; bits < 256; ++bits) {
    const auto byte = static_cast<std::uint8_t>(bits);
    if ((bits & 0x7f) == 0x7f) continue;
    CAPTURE(bits);
    CHECK(ToFp8(FromFp8(byte)) == byte);
  }
}

TEST_CASE("what lies between two 8-bit floats becomes the nearer one, the even one in the middle") {
  for (int bits = 0; bits < 0x7e; ++bits) {
    CAPTURE(bits);
    const auto below = static_cast<std::uint8_t>(bits);
    const auto above = static_cast<std::uint8_t>(bits + 1);
    const float middle = (FromFp8(below) + FromFp8(above)) / 2;
    const std::uint8_t even = bits % 2 == 0 ? below : above;
    CHECK(ToFp8(middle) == even);
    CHECK(ToFp8(-middle) == (even | 0x80));
    CHECK(ToFp8(std::nextafter(middle, 0.0F)) == below);
    CHECK(ToFp8(std::nextafter(middle, 1000.0F)) == above);
  }
}

TEST_CASE("what is beyond the greatest becomes the greatest, a NaN stays one") {
  CHECK(ToFp8(464) == 0x7e);
  CHECK(ToFp8(1e30F) == 0x7e);
  CHECK(ToFp8(-std::numeric_limits<float>::infinity()) == 0xfe);
  CHECK(ToFp8(std::numeric_limits<float>::quiet_NaN()) == kFp8NaN);
  CHECK(ToFp8(1e-30F) == 0);
}

TEST_CASE(
    "a row's greatest magnitude becomes the greatest number; a row of nothing has a scale all the same") {
  const Fp8Scale scale = ScaleOfRow(3);
  CHECK(ToFp8(3 * scale.inverse) == 0x7e);
  CHECK(FromFp8(ToFp8(3 * scale.inverse)) * scale.scale == Approx(3));
  CHECK(ScaleOfRow(0).scale == 1);
  CHECK(ScaleOfRow(1e-38F).inverse == 1);
  CHECK(ToFp8(1e-38F * ScaleOfRow(1e-38F).inverse) == 0);
}

}  // namespace
}  // namespace baton::kernels::cuda
