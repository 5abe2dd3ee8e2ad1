// Plain C++: any processor. Multiplication and addition round apart (no fused operation is assumed).
#include <cstddef>
#include <cstdint>

#include "kernels/cpu/inner_kernels.h"

namespace baton::kernels::cpu {
namespace {

struct Vec {
  float lane[16];
  struct Pair;
  static inline Vec Zero() { return {}; }
  static inline Vec Load(const float* p) {
    Vec v;
    __builtin_memcpy(v.lane, p, sizeof v.lane);
    return v;
  }
  static inline Vec Broadcast(float x) {
    Vec v;
    for (float& l : v.lane) l = x;
    return v;
  }
  inline void Store(float* p) const { __builtin_memcpy(p, lane, sizeof lane); }
  template <typename Operation>
  static inline Vec Map(Operation operation) {
    Vec v;
    for (int i = 0; i < 16; ++i) v.lane[i] = operation(i);
    return v;
  }
  static inline Vec Max(const Vec& a, const Vec& b) {
    return Map([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static inline Vec Min(const Vec& a, const Vec& b) {
    return Map([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static inline Vec Fma(const Vec& a, const Vec& b, const Vec& c) {
    return Map([&](int i) { return a.lane[i] * b.lane[i] + c.lane[i]; });
  }
  static inline Vec Round(const Vec& a) {
    return Map([&](int i) { return __builtin_rintf(a.lane[i]); });
  }
  static inline Vec Scale2(const Vec& a, const Vec& n) {
    return Map([&](int i) {
      const unsigned bits = static_cast<unsigned>(static_cast<int>(n.lane[i]) + 127) << 23;
      float power = 0;
      __builtin_memcpy(&power, &bits, 4);
      return a.lane[i] * power;
    });
  }
  static inline Vec ZeroWhereBelow(const Vec& a, const Vec& x, float bound) {
    return Map([&](int i) { return x.lane[i] >= bound ? a.lane[i] : 0.0F; });
  }
  static inline Pair LoadPairs(const unsigned* p);
};
struct Vec::Pair {
  Vec even;
  Vec odd;
};
inline float FromBits(unsigned bits) {
  float value = 0;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}
inline Vec::Pair Vec::LoadPairs(const unsigned* p) {
  return {Map([&](int i) { return FromBits(p[i] << 16); }),
          Map([&](int i) { return FromBits(p[i] & 0xffff0000U); })};
}
inline Vec operator+(const Vec& a, const Vec& b) {
  return Vec::Map([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline Vec operator-(const Vec& a, const Vec& b) {
  return Vec::Map([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline Vec operator*(const Vec& a, const Vec& b) {
  return Vec::Map([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline Vec operator/(const Vec& a, const Vec& b) {
  return Vec::Map([&](int i) { return a.lane[i] / b.lane[i]; });
}

inline Vec LoadF32(const float* p, int left) {
  return Vec::Map([&](int i) { return i < left ? p[i] : 0.0F; });
}
inline Vec LoadBf16(const unsigned short* p, int left) {
  return Vec::Map([&](int i) { return i < left ? FromBits(static_cast<unsigned>(p[i]) << 16) : 0.0F; });
}
/// 16 rows of up to 16 dwords become 16 columns: dword j of row i goes to out[j * out_stride + i].
inline void Transpose16(const unsigned* in, long stride, int left, unsigned* out, long out_stride) {
  for (int j = 0; j < left && j < 16; ++j) {
    for (int i = 0; i < 16; ++i) out[j * out_stride + i] = in[i * stride + j];
  }
}

#include "kernels/cpu/isa_common_inl.h"

using DotPairs = WideningDotPairs;
struct DotBytes {
  struct Sum {
    int lane[16];
  };
  struct Weights {
    unsigned char bytes[64];
  };
  static inline Sum Start(int correction) {
    Sum sum;
    for (int& l : sum.lane) l = correction;
    return sum;
  }
  static inline Weights Load(const unsigned* p) {
    Weights w;
    __builtin_memcpy(w.bytes, p, sizeof w.bytes);
    return w;
  }
  static inline Sum Accumulate(const Sum& sum, const Weights& w, unsigned a) {
    signed char x[4];
    __builtin_memcpy(x, &a, 4);
    Sum result = sum;
    for (int i = 0; i < 16; ++i) {
      for (int j = 0; j < 4; ++j) result.lane[i] += w.bytes[4 * i + j] * x[j];
    }
    return result;
  }
  static inline Vec ToFloat(const Sum& sum) {
    return Vec::Map([&](int i) { return static_cast<float>(sum.lane[i]); });
  }
};
constexpr int kColumnsPerTile = 16;
constexpr int kRowsPerTile = 4;

#include "kernels/cpu/inner_kernels_inl.h"
#include "kernels/cpu/isa_table_inl.h"

}  // namespace

const InnerKernels kPortableKernels = Table("portable");

}  // namespace baton::kernels::cpu
