#include "kvtransfer/reslice.h"

#include <algorithm>
#include <numeric>

#include "common/base/check.h"
#include "common/base/error.h"

namespace baton::kvtransfer {
namespace {

constexpr int kCountMax = 1 << 20;  // of heads, dimensions, tokens of a block: no product overflows

/// Tokens that share a scale: they lie in one block on both sides.
int GroupTokens(const KvShape& source, const KvShape& target) {
  return std::gcd(source.block_tokens, target.block_tokens);
}

}  // namespace

std::size_t KvShape::BlockElements() const {
  return std::size_t{2} * static_cast<std::size_t>(HeadsPerRank()) * static_cast<std::size_t>(block_tokens) *
         static_cast<std::size_t>(head_dim);
}

absl::Status CheckShape(const KvShape& shape) {
  for (const int count : {shape.kv_heads, shape.head_dim, shape.block_tokens, shape.ranks}) {
    if (count <= 0 || count > kCountMax) {
      return Error(kInvalidArgument, "no KV shape: {} heads of {}, blocks of {} tokens, {} ranks",
                   shape.kv_heads, shape.head_dim, shape.block_tokens, shape.ranks);
    }
  }
  if (shape.kv_heads % shape.ranks != 0 && shape.ranks % shape.kv_heads != 0) {
    return Error(kInvalidArgument, "{} KV heads cannot be shared by {} ranks: one must divide the other",
                 shape.kv_heads, shape.ranks);
  }
  if (shape.element == Element::kInt8) {
    return Error(kInvalidArgument, "KV of int8 lies in no arena: it is a wire's type");
  }
  return absl::OkStatus();
}

HeadRange HeadsOf(const KvShape& shape, int rank) {
  if (shape.ranks > shape.kv_heads) return {.first = rank / (shape.ranks / shape.kv_heads), .count = 1};
  const int count = shape.kv_heads / shape.ranks;
  return {.first = rank * count, .count = count};
}

int RankOf(const KvShape& shape, int head) {
  return shape.ranks > shape.kv_heads ? head * (shape.ranks / shape.kv_heads)
                                      : head / (shape.kv_heads / shape.ranks);
}

void WireFormat::Unpack(std::span<const std::byte> wire, Element to, std::span<std::byte> out) const {
  const std::size_t in_bytes = RowBytes(element, row_elements);
  const std::size_t out_bytes = RowBytes(to, row_elements);
  const std::size_t count = wire.size() / in_bytes;
  BATON_CHECK(wire.size() == count * in_bytes && out.size() == count * out_bytes, "{} bytes into {}",
              wire.size(), out.size());
  for (std::size_t row = 0; row < count; ++row) {
    ConvertRow(element, wire.subspan(row * in_bytes, in_bytes), to, out.subspan(row * out_bytes, out_bytes),
               row_elements);
  }
}

Element WireElement(Element source, Element target) {
  return RowBytes(source, 1) < RowBytes(target, 1) ? source : target;
}

WireFormat WireFormatOf(const KvShape& source, const KvShape& target, Element wire) {
  const std::size_t elements = target.BlockElements();
  if (wire != Element::kInt8) return {.element = wire, .rows = 1, .row_elements = elements};
  const auto row = static_cast<std::size_t>(GroupTokens(source, target) * target.head_dim);
  return {.element = wire, .rows = elements / row, .row_elements = row};
}

Reslice::Reslice(const KvShape& source, const KvShape& target, Element wire)
    : source_(source),
      target_(target),
      group_tokens_(GroupTokens(source, target)),
      wire_(WireFormatOf(source, target, wire)) {}

absl::StatusOr<Reslice> Reslice::Create(const KvShape& source, const KvShape& target, Element wire) {
  BATON_RETURN_IF_ERROR(Annotate(CheckShape(source), "source"));
  BATON_RETURN_IF_ERROR(Annotate(CheckShape(target), "target"));
  if (source.kv_heads != target.kv_heads || source.head_dim != target.head_dim) {
    return Error(kFailedPrecondition, "{} heads of {} here, {} of {} there: another model", source.kv_heads,
                 source.head_dim, target.kv_heads, target.head_dim);
  }
  return Reslice(source, target, wire);
}

void Reslice::AppendSlices(int target_rank, std::int64_t target_block, std::int64_t prompt_tokens,
                           std::vector<Slice>& out) const {
  const bool scaled = wire_.element == Element::kInt8;
  const HeadRange heads = HeadsOf(target_, target_rank);
  const std::int64_t begin = target_block * target_.block_tokens;
  const std::int64_t end = std::min(begin + target_.block_tokens, prompt_tokens);
  const auto first_of_block = static_cast<std::ptrdiff_t>(out.size());
  for (int row = 0; row < 2 * heads.count; ++row) {  // k and v of each head
    const int part = row / heads.count;
    const int head = heads.first + row % heads.count;
    const int rank = RankOf(source_, head);
    const HeadRange held = HeadsOf(source_, rank);
    for (std::int64_t token = begin; token < end;) {
      const std::int64_t within = token % source_.block_tokens;
      std::int64_t tokens = std::min(source_.block_tokens - within, end - token);
      if (scaled) tokens = std::min(tokens, group_tokens_ - token % group_tokens_);
      const std::int64_t source_row = (part * held.count + head - held.first) * source_.block_tokens + within;
      const std::int64_t wire_token = row * std::int64_t{target_.block_tokens} + token - begin;
      Slice slice{.source_rank = rank,
                  .source_block = static_cast<std::size_t>(token / source_.block_tokens),
                  .source_at = static_cast<std::size_t>(source_row * source_.head_dim),
                  .count = static_cast<std::size_t>(tokens * source_.head_dim)};
      slice.wire_at = scaled
                          ? static_cast<std::size_t>(wire_token / group_tokens_) *
                                RowBytes(wire_.element, wire_.row_elements)
                          : RowBytes(wire_.element, static_cast<std::size_t>(wire_token * target_.head_dim));
      token += tokens;
      if (!scaled && std::ssize(out) > first_of_block) {
        Slice& last = out.back();
        if (last.source_rank == slice.source_rank && last.source_block == slice.source_block &&
            last.source_at + last.count == slice.source_at &&
            last.wire_at + RowBytes(wire_.element, last.count) == slice.wire_at) {
          last.count += slice.count;
          continue;
        }
      }
      out.push_back(slice);
    }
  }
}

}  // namespace baton::kvtransfer
