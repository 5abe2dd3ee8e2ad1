#include "engine/kv/join_copiers.h"

#include <array>
#include <cstring>

#include <catch2/catch.hpp>

#include "common/base/error.h"

namespace baton::engine {
namespace {

/// Copies what lies in its own memory, and counts; anything else is somebody else's.
class OwnCopier final : public DeviceCopier {
 public:
  explicit OwnCopier(const MemoryRegion& region) : region_(region) {}
  absl::StatusOr<std::shared_ptr<std::byte>> AllocateHost(std::size_t bytes) override {
    auto owner = std::make_shared<std::vector<std::byte>>(bytes);
    return std::shared_ptr<std::byte>(owner, owner->data());
  }
  absl::Status Gather(std::span<const Piece> pieces, std::byte* host) override {
    for (const Piece& piece : pieces) {
      if (!Holds(region_, piece.address)) return Error(kInternal, "not my memory");
      std::memcpy(host + piece.at, piece.address, piece.bytes);
      ++copied;
    }
    return absl::OkStatus();
  }
  absl::Status Scatter(const std::byte* host, std::span<const Piece> pieces) override {
    for (const Piece& piece : pieces) {
      if (!Holds(region_, piece.address)) return Error(kInternal, "not my memory");
      std::memcpy(piece.address, host + piece.at, piece.bytes);
      ++copied;
    }
    return absl::OkStatus();
  }
  absl::Status CopyWithin(std::span<const Move> moves) override {
    for (const Move& move : moves) {
      if (!Holds(region_, move.to)) return Error(kInternal, "not my memory");
      std::memcpy(move.to, move.from, move.bytes);
      ++copied;
    }
    return absl::OkStatus();
  }
  void EnterThread() override { entered = true; }
  int copied = 0;
  bool entered = false;

 private:
  const MemoryRegion region_;
};

struct TwoDevices {
  std::array<std::array<std::byte, 64>, 2> memory{};
  std::array<std::shared_ptr<OwnCopier>, 2> copiers;
  std::shared_ptr<DeviceCopier> joined;

  TwoDevices() {
    std::vector<CopierPart> parts;
    for (std::size_t i = 0; i < 2; ++i) {
      const MemoryRegion region{.address = memory[i].data(), .bytes = memory[i].size()};
      copiers[i] = std::make_shared<OwnCopier>(region);
      parts.push_back({.region = region, .copier = copiers[i]});
      memory[i].fill(static_cast<std::byte>(i + 1));
    }
    joined = JoinCopiers(std::move(parts));
  }
};

TEST_CASE("a thread that enters several devices enters the first") {
  TwoDevices two;

  two.joined->EnterThread();

  CHECK(two.copiers[0]->entered);
  CHECK_FALSE(two.copiers[1]->entered);
}

TEST_CASE("each piece goes by the copier of the device it lies on, and keeps its place in the host's area") {
  TwoDevices two;
  const auto host = *two.joined->AllocateHost(48);
  const std::vector<DeviceCopier::Piece> pieces = {
      {two.memory[1].data() + 8, 0, 16}, {two.memory[0].data(), 16, 16}, {two.memory[1].data() + 40, 32, 16}};

  REQUIRE(two.joined->Gather(pieces, host.get()).ok());

  CHECK(std::to_integer<int>(host.get()[0]) == 2);
  CHECK(std::to_integer<int>(host.get()[16]) == 1);
  CHECK(std::to_integer<int>(host.get()[47]) == 2);
  CHECK(two.copiers[0]->copied == 1);
  CHECK(two.copiers[1]->copied == 2);

  std::memset(host.get(), 9, 48);
  REQUIRE(two.joined->Scatter(host.get(), pieces).ok());
  CHECK(std::to_integer<int>(two.memory[0][15]) == 9);
  CHECK(std::to_integer<int>(two.memory[0][16]) == 1);
  CHECK(std::to_integer<int>(two.memory[1][8]) == 9);
  CHECK(std::to_integer<int>(two.memory[1][24]) == 2);
}

TEST_CASE("a block is copied within each device, and an error of one is everybody's") {
  TwoDevices two;
  two.memory[0][0] = std::byte{7};
  two.memory[1][0] = std::byte{8};
  const std::vector<DeviceCopier::Move> moves = {{two.memory[0].data() + 32, two.memory[0].data(), 1},
                                                 {two.memory[1].data() + 32, two.memory[1].data(), 1}};

  REQUIRE(two.joined->CopyWithin(moves).ok());

  CHECK(two.memory[0][32] == std::byte{7});
  CHECK(two.memory[1][32] == std::byte{8});
  const MemoryRegion elsewhere{.address = two.memory[1].data(), .bytes = 1};
  const auto broken = JoinCopiers({{.region = {.address = two.memory[0].data(), .bytes = 64},
                                    .copier = std::make_shared<OwnCopier>(elsewhere)},
                                   {.region = elsewhere, .copier = two.copiers[1]}});
  CHECK(Message(broken->CopyWithin(std::span(moves).first(1))) == "not my memory");
}

}  // namespace
}  // namespace baton::engine
