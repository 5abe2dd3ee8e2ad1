#pragma once

#include <cmath>
#include <cstring>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/base/random.h"
#include "kvtransfer/element.h"
#include "kvtransfer/handoff.h"

namespace baton::test {

/// A number of a model's KV that f32, bf16 and f16 hold exactly: what `seed`'s prompt has there.
[[nodiscard]] inline float KvValue(std::uint64_t seed, int layer, int part, int head, std::int64_t token,
                                   int dim) {
  const auto row = static_cast<std::uint64_t>((layer * 2 + part) * 1024 + head);
  return static_cast<float>(CounterBits(seed * 65'537 + row, static_cast<std::uint64_t>(token * 512 + dim)) %
                            255) -
         127;
}

/// A worker's KV memory the plain way: every number by itself, found by loops over what the layout says. What
/// the transfers' plans are compared with.
class PlainKv {
 public:
  PlainKv(const kvtransfer::KvLayout& layout, std::int64_t blocks)
      : layout_(layout),
        blocks_(blocks),
        element_(kvtransfer::ElementOf(layout.dtype).value()),
        heads_(layout.ranks > layout.kv_heads ? 1 : layout.kv_heads / layout.ranks),
        own_(static_cast<std::size_t>(layout.ranks * layout.layers * blocks) * BlockBytes(), std::byte{0x7e}),
        bytes_(own_) {}
  /// The same of memory that somebody else has.
  PlainKv(const kvtransfer::KvLayout& layout, std::int64_t blocks, std::span<std::byte> memory)
      : layout_(layout),
        blocks_(blocks),
        element_(kvtransfer::ElementOf(layout.dtype).value()),
        heads_(layout.ranks > layout.kv_heads ? 1 : layout.kv_heads / layout.ranks),
        bytes_(memory) {}
  PlainKv(const PlainKv&) = delete;
  PlainKv& operator=(const PlainKv&) = delete;

  [[nodiscard]] kvtransfer::ArenaView View() {
    return {
        .region = {.address = bytes_.data(), .bytes = bytes_.size()}, .blocks = blocks_, .layout = layout_};
  }
  [[nodiscard]] std::size_t BlockBytes() const {
    return static_cast<std::size_t>(2 * heads_ * layout_.block_tokens * layout_.head_dim *
                                    layout_.element_bytes);
  }
  /// The model's number of the first of a rank's heads.
  [[nodiscard]] int FirstHead(int rank) const {
    return layout_.ranks > layout_.kv_heads ? rank * layout_.kv_heads / layout_.ranks : rank * heads_;
  }
  /// Writes a prompt's KV of positions [first, tokens) as the worker's ranks would compute it.
  void Compute(std::uint64_t seed, const std::vector<BlockIndex>& table, std::int64_t tokens,
               std::int64_t first = 0) {
    ForEach(table, first, tokens,
            [&](int layer, int part, int head, std::int64_t token, int dim, std::size_t at) {
              const float value = KvValue(seed, layer, part, head, token, dim);
              kvtransfer::ConvertRow(kvtransfer::Element::kF32, std::as_bytes(std::span(&value, 1)), element_,
                                     bytes_.subspan(at, static_cast<std::size_t>(layout_.element_bytes)), 1);
            });
  }
  /// The greatest difference from that.
  [[nodiscard]] float Difference(std::uint64_t seed, const std::vector<BlockIndex>& table,
                                 std::int64_t tokens) const {
    float worst = 0;
    ForEach(
        table, 0, tokens, [&](int layer, int part, int head, std::int64_t token, int dim, std::size_t at) {
          float value = 0;
          kvtransfer::ConvertRow(element_,
                                 bytes_.subspan(at, static_cast<std::size_t>(layout_.element_bytes)),
                                 kvtransfer::Element::kF32, std::as_writable_bytes(std::span(&value, 1)), 1);
          const float difference = std::fabs(value - KvValue(seed, layer, part, head, token, dim));
          worst = difference <= worst ? worst : difference;  // NaN counts
        });
    return worst;
  }

 private:
  template <typename Visit>
  void ForEach(const std::vector<BlockIndex>& table, std::int64_t first, std::int64_t tokens,
               const Visit& visit) const {
    for (int rank = 0; rank < layout_.ranks; ++rank) {
      for (int layer = 0; layer < layout_.layers; ++layer) {
        for (std::int64_t token = first; token < tokens; ++token) {
          const auto block = table.at(static_cast<std::size_t>(token / layout_.block_tokens)).value;
          for (int part = 0; part < 2; ++part) {
            for (int held = 0; held < heads_; ++held) {
              for (int dim = 0; dim < layout_.head_dim; ++dim) {
                std::int64_t at = rank * layout_.layers + layer;
                at = at * blocks_ + block;
                at = at * 2 + part;
                at = at * heads_ + held;
                at = at * layout_.block_tokens + token % layout_.block_tokens;
                at = at * layout_.head_dim + dim;
                visit(layer, part, FirstHead(rank) + held, token, dim,
                      static_cast<std::size_t>(at * layout_.element_bytes));
              }
            }
          }
        }
      }
    }
  }

  kvtransfer::KvLayout layout_;
  std::int64_t blocks_;
  kvtransfer::Element element_;
  int heads_;
  std::vector<std::byte> own_;
  std::span<std::byte> bytes_;
};

}  // namespace baton::test
