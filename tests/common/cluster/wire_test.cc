#include "common/cluster/wire.h"

#include <catch2/catch.hpp>

#include "common/base/error.h"
#include "common/cluster/wire.pb.h"

namespace baton::wire {
namespace {

TEST_CASE("an envelope survives its frame") {
  Envelope sent;
  sent.mutable_prefill()->set_request(0xfedcba9876543210U);
  sent.mutable_prefill()->set_attempt(2);
  for (const int token : {5, 0, 2047}) sent.mutable_prefill()->add_tokens(token);
  sent.mutable_prefill()->mutable_sampling()->set_top_k(-1);

  Envelope got;
  REQUIRE(Decode(Encode(sent), got).ok());

  REQUIRE(got.has_prefill());
  CHECK(got.prefill().request() == 0xfedcba9876543210U);
  CHECK(got.prefill().attempt() == 2);
  REQUIRE(got.prefill().tokens_size() == 3);
  CHECK(got.prefill().tokens(2) == 2047);
  CHECK(got.prefill().sampling().top_k() == -1);
}

TEST_CASE("a frame without a body is refused") {
  Envelope got;
  const absl::Status status = Decode("", got);
  CHECK(status.code() == kInvalidArgument);
  CHECK(Message(status).find("no message that this version knows") != std::string::npos);
}

TEST_CASE("every truncation of a frame is refused or read, never a crash") {
  Envelope sent;
  sent.mutable_register_()->set_name("prefill-0");
  sent.mutable_register_()->set_peer_address("127.0.0.1:7001");
  const std::string frame = Encode(sent);
  int refused = 0;
  for (std::size_t length = 0; length < frame.size(); ++length) {
    Envelope got;
    refused += Decode(frame.substr(0, length), got).ok() ? 0 : 1;
  }
  CHECK(refused == static_cast<int>(frame.size()));
}

TEST_CASE("bytes that are no protobuf are refused") {
  Envelope got;
  CHECK(Decode("\xff\xff\xff\xff\xff\xff", got).code() == kInvalidArgument);
}

}  // namespace
}  // namespace baton::wire
