#include "tests/kernels/cuda/emulated_words.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "common/base/check.h"

namespace baton::kernels::cuda::emulated {

thread_local Index threadIdx;
thread_local Index blockIdx;
thread_local Index gridDim;

extern "C" void BatonSwitchFiber(void** from, void* to);
// Saves what a call must keep, and goes on where another call left off.
asm(R"(
.text
.globl BatonSwitchFiber
.type BatonSwitchFiber, @function
BatonSwitchFiber:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size BatonSwitchFiber, .-BatonSwitchFiber
)");

namespace {

constexpr std::size_t kStackBytes = 256U << 10;
constexpr int kThreadsMax = 1024;

enum class State { kReady, kAtBlock, kAtWarp, kEnded };

struct Copy {
  void* to;
  const void* from;
  bool there;
  int group;
};

struct Fiber {
  std::unique_ptr<std::byte[]> stack = std::make_unique_for_overwrite<std::byte[]>(kStackBytes);
  void* top = nullptr;
  State state = State::kEnded;
  unsigned warp_operations = 0;
  std::vector<Copy> copies;
  int group = 0;
};

/// What the lanes of a warp show each other; two, so that a lane may be at the next operation before all have
/// read.
struct Exchange {
  std::array<float, 32> values;
  std::array<std::array<unsigned, 4>, 32> a;
  std::array<std::array<unsigned, 2>, 32> b;
  std::array<const void*, 32> rows;
  int arrived = 0;
};

struct Block {
  std::vector<Fiber> fibers = std::vector<Fiber>(kThreadsMax);
  std::vector<std::array<Exchange, 2>> exchanges = std::vector<std::array<Exchange, 2>>(kThreadsMax / 32);
  std::vector<std::byte> shared;
  std::byte* shared_begin = nullptr;
  int threads = 0;
  int current = 0;
  void* scheduler = nullptr;
  const std::function<void()>* kernel = nullptr;
  std::uint64_t round = 0;
};

Block& TheBlock() {
  thread_local Block block;
  return block;
}

Fiber& Current() {
  return TheBlock().fibers[static_cast<std::size_t>(TheBlock().current)];
}

void Yield(State state) {
  Block& block = TheBlock();
  Fiber& fiber = Current();
  fiber.state = state;
  BatonSwitchFiber(&fiber.top, block.scheduler);
}

extern "C" void BatonFiberMain() {
  (*TheBlock().kernel)();
  Yield(State::kEnded);
}

void Prepare(Fiber& fiber) {
  fiber.state = State::kReady;
  fiber.warp_operations = 0;
  fiber.copies.clear();
  fiber.group = 0;
  auto top = reinterpret_cast<std::uintptr_t>(fiber.stack.get() + kStackBytes) & ~std::uintptr_t{15};
  auto* words = reinterpret_cast<void**>(top);
  *--words = nullptr;  // as a call leaves it: the stack is 8 off a multiple of 16
  *--words = reinterpret_cast<void*>(&BatonFiberMain);
  for (int i = 0; i < 6; ++i) *--words = nullptr;
  fiber.top = words;
}

void Resume(int thread) {
  Block& block = TheBlock();
  block.current = thread;
  threadIdx.x = static_cast<unsigned>(thread);
  BatonSwitchFiber(&block.scheduler, block.fibers[static_cast<std::size_t>(thread)].top);
}

/// Runs every thread that can, in an order that changes from round to round; whether any ran.
bool RunReady() {
  Block& block = TheBlock();
  const auto round = static_cast<int>(block.round++ % 7);
  bool ran = false;
  for (int i = 0; i < block.threads; ++i) {
    const int rotated = (i + round * 37) % block.threads;
    const int thread = round % 2 == 0 ? rotated : block.threads - 1 - rotated;
    if (block.fibers[static_cast<std::size_t>(thread)].state != State::kReady) continue;
    Resume(thread);
    ran = true;
  }
  return ran;
}

void RunBlock() {
  Block& block = TheBlock();
  for (int i = 0; i < block.threads; ++i) Prepare(block.fibers[static_cast<std::size_t>(i)]);
  for (auto& pair : block.exchanges) pair = {};
  for (;;) {
    while (RunReady()) {
    }
    int waiting = 0;
    int ended = 0;
    for (int i = 0; i < block.threads; ++i) {
      const State state = block.fibers[static_cast<std::size_t>(i)].state;
      waiting += state == State::kAtBlock ? 1 : 0;
      ended += state == State::kEnded ? 1 : 0;
    }
    if (ended == block.threads) return;
    // Threads that have returned count as arrived; lanes at a warp operation whose others are elsewhere never
    // do.
    BATON_CHECK(waiting + ended == block.threads, "a warp operation waits for lanes that do not take part");
    for (int i = 0; i < block.threads; ++i) {
      Fiber& fiber = block.fibers[static_cast<std::size_t>(i)];
      if (fiber.state == State::kAtBlock) fiber.state = State::kReady;
    }
  }
}

/// The warp's exchange for this operation; `show` puts in what this lane shows, and all have when it returns.
template <typename Show>
Exchange& Meet(const Show& show) {
  Block& block = TheBlock();
  Fiber& fiber = Current();
  const int thread = block.current;
  const int first = thread / 32 * 32;
  Exchange& exchange = block.exchanges[static_cast<std::size_t>(thread / 32)][fiber.warp_operations++ % 2];
  show(exchange, static_cast<std::size_t>(thread % 32));
  if (++exchange.arrived < 32) {
    Yield(State::kAtWarp);
    return exchange;
  }
  exchange.arrived = 0;
  for (int lane = 0; lane < 32; ++lane) {
    Fiber& other = block.fibers[static_cast<std::size_t>(first + lane)];
    if (other.state == State::kAtWarp) other.state = State::kReady;
  }
  return exchange;
}

float Half(unsigned pair, unsigned index) {
  return FloatOf((pair >> (16 * index) & 0xffffU) << 16);
}

}  // namespace

std::byte* SharedMemory() {
  return TheBlock().shared_begin;
}

void SyncBlock() {
  Yield(State::kAtBlock);
}

void SyncWarp() {
  Meet([](Exchange&, std::size_t) {});
}

float ShuffleXor(float x, int mask) {
  const Exchange& exchange = Meet([&](Exchange& e, std::size_t lane) { e.values[lane] = x; });
  return exchange.values[static_cast<std::size_t>(TheBlock().current % 32 ^ mask)];
}

/// By the layout that PTX gives the fragments: lane 4 g + t has rows g and g + 8 of a, columns 2t, 2t + 1 and
/// those 8 on; of b column g, rows 2t, 2t + 1 and those 8 on; of the result rows g and g + 8, columns 2t and
/// 2t + 1.
void MultiplyAccumulate(float (&acc)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  const Exchange& exchange = Meet([&](Exchange& e, std::size_t lane) {
    std::copy_n(a, 4, e.a[lane].begin());
    std::copy_n(b, 2, e.b[lane].begin());
  });
  const auto lane = static_cast<unsigned>(TheBlock().current % 32);
  for (unsigned i = 0; i < 4; ++i) {
    const unsigned row = lane / 4;  // + 8 for the upper half: the registers after the first
    const unsigned column = lane % 4 * 2 + i % 2;
    double sum = static_cast<double>(acc[i]);
    for (unsigned k = 0; k < 16; ++k) {
      const unsigned left = exchange.a[row * 4 + k % 8 / 2][i / 2 + k / 8 * 2];
      const unsigned right = exchange.b[column * 4 + k % 8 / 2][k / 8];
      sum += static_cast<double>(Half(left, k % 2)) * static_cast<double>(Half(right, k % 2));
    }
    acc[i] = static_cast<float>(sum);
  }
}

void LoadTransposed(unsigned (&out)[4], const void* row) {
  BATON_CHECK(reinterpret_cast<std::uintptr_t>(row) % 16 == 0, "a row of a matrix begins at {}", row);
  const Exchange& exchange = Meet([&](Exchange& e, std::size_t lane) { e.rows[lane] = row; });
  const auto lane = static_cast<unsigned>(TheBlock().current % 32);
  for (unsigned matrix = 0; matrix < 4; ++matrix) {
    out[matrix] = 0;
    for (unsigned i = 0; i < 2; ++i) {
      std::uint16_t element = 0;
      const auto* from =
          static_cast<const std::uint16_t*>(exchange.rows[matrix * 8 + lane % 4 * 2 + i]) + lane / 4;
      std::memcpy(&element, from, 2);
      out[matrix] |= static_cast<unsigned>(element) << (16 * i);
    }
  }
}

void CopyAsync(void* shared, const void* global, bool there) {
  BATON_CHECK(reinterpret_cast<std::uintptr_t>(shared) % 16 == 0 &&
                  reinterpret_cast<std::uintptr_t>(global) % 16 == 0,
              "an asynchronous copy from {} to {} is not aligned", global, shared);
  Fiber& fiber = Current();
  fiber.copies.push_back({shared, global, there, fiber.group});
}

void CommitCopies() {
  ++Current().group;
}

void WaitCopiesBut(int left) {
  Fiber& fiber = Current();
  std::erase_if(fiber.copies, [&](const Copy& copy) {
    if (copy.group >= fiber.group - left) return false;
    if (copy.there) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
    return true;
  });
}

namespace {

/// Held while a kernel runs or memory is copied, where there is memory that is closed to the host otherwise.
std::recursive_mutex& Turn() {
  static std::recursive_mutex mutex;
  return mutex;
}
int access_depth = 0;                   // guarded by Turn
std::vector<DeviceMemory*> all_memory;  // guarded by Turn
std::atomic<int> memories = 0;          // as many

}  // namespace

DeviceMemory::DeviceMemory(std::size_t bytes) : bytes_(bytes) {
  begin_ = static_cast<std::byte*>(
      mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  BATON_CHECK(begin_ != MAP_FAILED);
  const std::scoped_lock lock(Turn());
  all_memory.push_back(this);
  ++memories;
}

DeviceMemory::~DeviceMemory() {
  const std::scoped_lock lock(Turn());
  std::erase(all_memory, this);
  --memories;
  munmap(begin_, bytes_);
}

std::byte* DeviceMemory::Take(std::size_t bytes) {
  const std::scoped_lock lock(Turn());
  constexpr std::size_t kPage = 4096;
  const std::size_t begin = (used_ + kPage - 1) / kPage * kPage;
  BATON_CHECK(access_depth == 0 && begin + bytes <= bytes_, "{} bytes of a device that has {}", bytes,
              bytes_);
  used_ = begin + bytes;
  return begin_ + begin;
}

DeviceAccess::DeviceAccess() : has_turn_(memories > 0) {
  if (!has_turn_) return;
  Turn().lock();
  if (access_depth++ > 0) return;
  for (const DeviceMemory* memory : all_memory)
    BATON_CHECK(mprotect(memory->begin_, memory->used_, PROT_READ | PROT_WRITE) == 0);
}

DeviceAccess::~DeviceAccess() {
  if (!has_turn_) return;
  if (--access_depth == 0) {
    for (const DeviceMemory* memory : all_memory)
      BATON_CHECK(mprotect(memory->begin_, memory->used_, PROT_NONE) == 0);
  }
  Turn().unlock();
}

void Run(const Grid& grid, int threads, int shared, const std::function<void()>& kernel) {
  BATON_CHECK(threads > 0 && threads <= kThreadsMax, "{} threads", threads);
  BATON_CHECK(shared <= 163 << 10, "{} bytes of shared memory, more than an sm_80 has", shared);
  BATON_CHECK(grid.y <= 65535 && grid.z <= 65535, "a grid of {} x {} x {}", grid.x, grid.y, grid.z);
  const DeviceAccess access;
  Block& block = TheBlock();
  block.threads = threads;
  block.kernel = &kernel;
  gridDim = {grid.x, grid.y, grid.z};
  block.shared.resize(static_cast<std::size_t>(shared) + 1024);
  void* begin = block.shared.data();
  std::size_t space = block.shared.size();
  block.shared_begin =
      static_cast<std::byte*>(std::align(1024, static_cast<std::size_t>(shared), begin, space));
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        std::fill(block.shared.begin(), block.shared.end(), std::byte{0xff});
        blockIdx = {x, y, z};
        RunBlock();
      }
    }
  }
}

}  // namespace baton::kernels::cuda::emulated
