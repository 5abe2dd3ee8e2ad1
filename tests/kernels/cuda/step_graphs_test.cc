// Steps of an emulated device that are recorded, captured and replayed, and copies beside them.
#include "kernels/cuda/step_graphs.h"

#include <catch2/catch.hpp>

#include "kernels/cuda/cuda_copier.h"
#include "tests/kernels/cuda/emulated_device.h"
#include "tests/kernels/tensors.h"

namespace baton::kernels::cuda {
namespace {

struct Rig {
  std::shared_ptr<emulated::Deeds> deeds = std::make_shared<emulated::Deeds>();
  std::unique_ptr<Device> device = emulated::CreateDevice({.apart = true, .deeds = deeds});
  Buffer numbers = *device->Allocate(1024);
  Buffer pinned = *device->AllocatePinned(1024);
  StepGraphs graphs{*device};

  /// numbers[0, count) += pinned[0, count), twice.
  StepRecord Step(std::int64_t count) {
    StepRecord record;
    auto* x = numbers.As<float>();
    record.AddCopy(x + 128, pinned.As<float>(), static_cast<std::size_t>(count) * sizeof(float));
    for (int i = 0; i < 2; ++i) {
      RecordingLaunches().add(
          record.AsQueue(),
          {.x = {.data = x, .rows = 1, .columns = count, .stride = count}, .y = x + 128, .y_stride = 0});
    }
    return record;
  }
  float First() {
    Buffer out = *device->AllocatePinned(4);
    device->Copy(out.As<float>(), numbers.As<float>(), 4);
    REQUIRE(device->Synchronize().ok());
    return *out.As<float>();
  }
};

TEST_CASE("a step does the same launched, captured and replayed, and reads what is there when it runs") {
  Rig rig;
  float expected = 0;
  for (int i = 1; i <= 5; ++i) {
    rig.pinned.As<float>()[0] = static_cast<float>(i);
    expected += 2 * static_cast<float>(i);
    rig.graphs.Run(rig.Step(16));
    CHECK(rig.First() == expected);
  }

  CHECK(rig.deeds->captured == 1);
  CHECK(rig.deeds->replayed == 4);
  CHECK(rig.graphs.GetCounts().replayed == 4);
}

TEST_CASE("a step that differs in one argument is another one, and is not taken for it") {
  Rig rig;
  for (int i = 0; i < 3; ++i) rig.graphs.Run(rig.Step(16));
  CHECK(rig.deeds->replayed == 2);

  rig.graphs.Run(rig.Step(17));

  CHECK(rig.deeds->replayed == 2);
  CHECK(rig.graphs.GetCounts().kept == 2);
  rig.graphs.Clear();
  rig.graphs.Run(rig.Step(16));
  CHECK(rig.deeds->replayed == 2);
  CHECK(rig.graphs.GetCounts().kept == 1);
}

TEST_CASE("graphs are bounded, whatever steps come") {
  Rig rig;
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t count = 1; count <= 100; ++count) rig.graphs.Run(rig.Step(count));
  }
  CHECK(rig.graphs.GetCounts().kept == kGraphsMax);
}

TEST_CASE("the copier brings blocks of a device out, in and about, and the host touches none of them") {
  const auto device = emulated::CreateDevice({.apart = true});
  const auto copier = *CreateCopier(*device);
  const Buffer blocks = *device->Allocate(200'000);
  const auto host = *copier->AllocateHost(100'000);
  const auto back = *copier->AllocateHost(100'000);
  RandomStream random(45);
  for (std::size_t i = 0; i < 100'000; ++i) host.get()[i] = static_cast<std::byte>(random.Between(0, 255));
  std::byte* at = blocks.As<std::byte>();
  const std::vector<DeviceCopier::Piece> pieces = {{at + 1024, 0, 40'000}, {at + 100'001, 40'000, 60'000}};

  REQUIRE(copier->Scatter(host.get(), pieces).ok());
  const DeviceCopier::Move move{.to = at + 41'024, .from = at + 100'001, .bytes = 1000};
  REQUIRE(copier->CopyWithin({&move, 1}).ok());
  REQUIRE(copier->Gather(pieces, back.get()).ok());

  CHECK(std::equal(host.get(), host.get() + 100'000, back.get()));
  const DeviceCopier::Piece moved{.address = at + 41'024, .at = 0, .bytes = 1000};
  REQUIRE(copier->Gather({&moved, 1}, back.get()).ok());
  CHECK(std::equal(back.get(), back.get() + 1000, host.get() + 40'000));
}

}  // namespace
}  // namespace baton::kernels::cuda
