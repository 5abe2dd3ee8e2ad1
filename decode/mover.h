#pragma once

#include <utility>

#include "engine/executor.h"
#include "engine/kv/answer_memory.h"

namespace baton::decode {

/// Hands what the memory wants on to the executor.
class Mover final : public engine::SequenceMover {
 public:
  explicit Mover(engine::Executor& executor) : executor_(executor) {}
  void Grow(engine::SequenceKey key, engine::BlockTable more) override {
    executor_.Grow(key, std::move(more));
  }
  void Preempt(engine::SequenceKey key, engine::BlockTable slots) override {
    executor_.Preempt(key, std::move(slots));
  }
  void Resume(engine::SequenceKey key, engine::BlockTable blocks, engine::BlockTable slots) override {
    executor_.Resume(key, std::move(blocks), std::move(slots));
  }

 private:
  engine::Executor& executor_;
};

}  // namespace baton::decode
