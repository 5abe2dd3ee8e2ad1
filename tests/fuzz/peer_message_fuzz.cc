#include <cstddef>
#include <cstdint>

#include "common/base/check.h"
#include "common/base/error.h"
#include "kvtransfer/peer.pb.h"
#include "kvtransfer/peer_messages.h"

/// Any frame of a pair connection: a grant is refused or keeps to its bounds, a layout is equal to itself or
/// refused.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace baton;
  constexpr std::int64_t kBlocksMax = 64;
  peer::Envelope envelope;
  if (!envelope.ParseFromArray(data, static_cast<int>(size))) return 0;
  if (envelope.has_grant()) {
    kvtransfer::Grant grant;
    if (kvtransfer::FromWire(envelope.grant(), kBlocksMax, grant).ok()) {
      BATON_CHECK(!grant.blocks.empty() && std::ssize(grant.blocks) <= kBlocksMax && grant.prompt_tokens > 0);
      peer::Grant again;
      kvtransfer::ToWire(grant, again);
      kvtransfer::Grant same;
      BATON_CHECK(kvtransfer::FromWire(again, kBlocksMax, same).ok());
      BATON_CHECK(same.blocks == grant.blocks && same.transfer == grant.transfer && same.key == grant.key);
    }
  }
  if (envelope.has_hello()) {
    const kvtransfer::KvLayout layout = kvtransfer::FromWire(envelope.hello().layout());
    BATON_CHECK(kvtransfer::CheckSame(layout, layout).ok());
    static_cast<void>(kvtransfer::CheckSame(kvtransfer::KvLayout{}, layout));
  }
  return 0;
}
