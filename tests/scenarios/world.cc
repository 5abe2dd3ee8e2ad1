#include "tests/scenarios/world.h"

namespace baton::scenarios {

void World::After(Duration delay, int process, std::function<void()> work) {
  if (process != kNobody && !At(process).alive) return;
  events_.push({.at = now_ + delay,
                .order = order_++,
                .process = process,
                .life = process == kNobody ? 0 : At(process).life,
                .work = std::move(work)});
}

bool World::Step() {
  if (events_.empty()) return false;
  Event event = events_.top();
  events_.pop();
  now_ = event.at;
  if (event.process != kNobody) {
    Process& process = At(event.process);
    if (event.life != process.life) return true;  // it was killed
    if (process.stopped) {
      process.waiting.push_back(std::move(event));
      return true;
    }
  }
  event.work();
  return true;
}

void World::Continue(int process) {
  At(process).stopped = false;
  for (Event& event : std::exchange(At(process).waiting, {})) {
    event.at = now_;
    event.order = order_++;
    events_.push(std::move(event));
  }
}

void World::Kill(int process) {
  ++At(process).life;
  At(process).alive = false;
  At(process).stopped = false;
  At(process).waiting.clear();
}

void World::Write(const std::string& text) {
  trace_.push_back(fmt::format("{:10.3f} ms  {}", Milliseconds(now_.time_since_epoch()), text));
}

}  // namespace baton::scenarios
