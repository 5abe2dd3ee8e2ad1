#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/check.h"
#include "common/base/error.h"
#include "kvtransfer/conversion.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/peer_messages.h"

namespace {

/// Makes the grant's first message, of blocks that all lie in the arena.
void Convert(const baton::kvtransfer::ArenaView& arena, const baton::kvtransfer::Grant& grant) {
  using namespace baton;
  const auto conversion = kvtransfer::Conversion::Create(arena, grant);
  if (!conversion.ok()) return;
  std::vector<BlockIndex> source;
  for (std::uint32_t i = 0; i < 64; ++i) source.emplace_back(i);
  const kvtransfer::StageJob job =
      conversion->JobFor({{.layer = 0, .target = grant.blocks[0], .count = 1}}, source, grant.prompt_tokens);
  BATON_CHECK(job.bytes <= kvtransfer::kMessageBytesMax || conversion->Trivial());
  for (const kvtransfer::StageJob::Piece& piece : job.pieces) {
    const auto at = static_cast<std::size_t>(piece.source - arena.region.address);
    BATON_CHECK(at + kvtransfer::RowBytes(job.from, piece.count) <= arena.region.bytes);
    BATON_CHECK(piece.at + kvtransfer::RowBytes(job.to, piece.count) <= job.bytes);
  }
}

}  // namespace

/// Any frame of a pair connection: a grant is refused or keeps to its bounds, and is converted for or
/// refused; a layout is refused or can be converted to itself, and from and to ours.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton;
  constexpr std::int64_t kTokensMax = 1024;
  kvtransfer::KvLayout ours;
  ours.layers = 2;
  ours.kv_heads = 4;
  ours.head_dim = 2;
  ours.dtype = "f32";
  static std::vector<std::byte> memory(2 * 64 * ours.BlockBytes());
  const kvtransfer::ArenaView arena{
      .region = {.address = memory.data(), .bytes = memory.size()}, .blocks = 64, .layout = ours};
  peer::Envelope envelope;
  if (!envelope.ParseFromArray(data, static_cast<int>(size))) return 0;
  if (envelope.has_grant()) {
    kvtransfer::Grant grant;
    if (kvtransfer::FromWire(envelope.grant(), kTokensMax, grant).ok()) {
      BATON_CHECK(!grant.blocks.empty() && std::ssize(grant.blocks) <= kTokensMax && grant.prompt_tokens > 0);
      peer::Grant again;
      kvtransfer::ToWire(grant, again);
      kvtransfer::Grant same;
      BATON_CHECK(kvtransfer::FromWire(again, kTokensMax, same).ok());
      BATON_CHECK(same.blocks == grant.blocks && same.transfer == grant.transfer && same.key == grant.key);
      BATON_CHECK(same.receiver_shape == grant.receiver_shape && same.sender_shape == grant.sender_shape &&
                  same.wire == grant.wire);
      Convert(arena, grant);
    }
  }
  if (envelope.has_hello()) {
    const kvtransfer::KvLayout layout = kvtransfer::FromWire(envelope.hello().layout());
    if (kvtransfer::CheckConvertible(layout, layout).ok()) {
      BATON_CHECK(kvtransfer::ShapeOf(layout).ok());
    }
    static_cast<void>(kvtransfer::CheckConvertible(ours, layout));
  }
  return 0;
}
