#include "common/cluster/wire.h"

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/cluster/wire.pb.h"

namespace baton::wire {

std::string Encode(const Envelope& envelope) {
  std::string frame;
  BATON_CHECK(envelope.SerializeToString(&frame));
  return frame;
}

absl::Status Decode(std::string_view frame, Envelope& out) {
  if (!out.ParseFromArray(frame.data(), static_cast<int>(frame.size()))) {
    return Error(kInvalidArgument, "control frame of {} bytes is no message of protocol version {}",
                 frame.size(), kProtocolVersion);
  }
  if (out.body_case() == Envelope::BODY_NOT_SET) {
    return Error(kInvalidArgument, "control frame of {} bytes carries no message that this version knows",
                 frame.size());
  }
  return absl::OkStatus();
}

}  // namespace baton::wire
