#include "kvtransfer/staging.h"

#include <algorithm>
#include <cstring>

#include "common/base/check.h"

namespace baton::kvtransfer {
namespace {

class HostStager final : public Stager {
 public:
  HostStager(std::size_t slots, std::size_t slot_bytes)
      : slot_bytes_(slot_bytes), memory_(slots * slot_bytes), slots_(slots) {}

  std::size_t SlotCount() const override { return slots_; }
  std::size_t SlotBytes() const override { return slot_bytes_; }
  std::span<std::byte> Slot(SlotIndex slot) override {
    BATON_CHECK(slot.value < slots_);
    return std::span(memory_).subspan(slot.value * slot_bytes_, slot_bytes_);
  }
  void Gather(std::vector<std::span<const std::byte>> pieces, SlotIndex slot, Done done) override {
    std::span<std::byte> left = Slot(slot);
    for (const auto piece : pieces) {
      BATON_CHECK(piece.size() <= left.size(), "a message of more than a slot's {} bytes", slot_bytes_);
      std::memcpy(left.data(), piece.data(), piece.size());
      left = left.subspan(piece.size());
    }
    done(absl::OkStatus());
  }
  void Scatter(SlotIndex slot, std::vector<std::span<std::byte>> pieces, Done done) override {
    std::span<const std::byte> left = Slot(slot);
    for (const auto piece : pieces) {
      BATON_CHECK(piece.size() <= left.size(), "a message of more than a slot's {} bytes", slot_bytes_);
      std::memcpy(piece.data(), left.data(), piece.size());
      left = left.subspan(piece.size());
    }
    done(absl::OkStatus());
  }

 private:
  const std::size_t slot_bytes_;
  std::vector<std::byte> memory_;
  const std::size_t slots_;
};

}  // namespace

std::unique_ptr<Stager> CreateHostStager(std::size_t slots, std::size_t slot_bytes) {
  return std::make_unique<HostStager>(slots, slot_bytes);
}

StagingPipeline::StagingPipeline(std::size_t slots) : slots_(slots) {
  BATON_CHECK(slots > 0);
  for (std::size_t slot = slots; slot > 0; --slot) free_.emplace_back(static_cast<std::uint32_t>(slot - 1));
}

StagingPipeline::Actions StagingPipeline::Ready(std::size_t count) {
  ready_ += count;
  return Advance();
}

StagingPipeline::Actions StagingPipeline::Gathered(std::size_t message) {
  const auto found = std::ranges::find(messages_, message, &Message::number);
  BATON_CHECK(found != messages_.end() && found->state == State::kGathering);
  found->state = State::kGathered;
  return Advance();
}

StagingPipeline::Actions StagingPipeline::Sent(std::size_t message) {
  const auto found = std::ranges::find(messages_, message, &Message::number);
  BATON_CHECK(found != messages_.end() && found->state == State::kSending);
  free_.push_back(found->slot);
  messages_.erase(found);
  return Advance();
}

StagingPipeline::Actions StagingPipeline::Advance() {
  Actions actions;
  if (aborted_) {  // what was gathered and not sent is dropped
    for (const Message& message : messages_) {
      if (message.state == State::kGathered) free_.push_back(message.slot);
    }
    std::erase_if(messages_, [](const Message& message) { return message.state == State::kGathered; });
    return actions;
  }
  for (Message& message : messages_) {
    if (message.state == State::kGathering) break;  // those behind it wait: sends go in order
    if (message.state == State::kSending) continue;
    message.state = State::kSending;
    actions.push_back({.kind = Action::Kind::kSend, .message = message.number, .slot = message.slot});
  }
  while (next_ < ready_ && !free_.empty()) {
    messages_.push_back({.number = next_, .slot = free_.back()});
    free_.pop_back();
    actions.push_back({.kind = Action::Kind::kGather, .message = next_, .slot = messages_.back().slot});
    ++next_;
  }
  return actions;
}

}  // namespace baton::kvtransfer
