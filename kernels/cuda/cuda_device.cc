// The CUDA runtime behind device.h; host code, linked where the build has CUDA. The runtime is linked
// statically: a machine without a driver starts, and hears it from OpenDevice.
#include <cuda_runtime.h>

#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "kernels/cuda/device.h"

namespace baton::kernels::cuda {

namespace {

absl::Status ErrorOf(cudaError_t code, const std::string& what) {
  return Error(code == cudaErrorMemoryAllocation ? kResourceExhausted : kInternal, "{}: {} ({})", what,
               cudaGetErrorString(code), cudaGetErrorName(code));
}

void FreeDevice(MemoryRegion region) {
  int before = 0;
  cudaGetDevice(&before);
  cudaSetDevice(region.device);
  cudaFree(region.address);
  cudaSetDevice(before);
}

void FreePinned(MemoryRegion region) {
  cudaFreeHost(region.address);
}

/// Of the highest priority: its kernels are small, and a transfer waits for them.
class CudaSideQueue final : public SideQueue {
 public:
  CudaSideQueue(int device, std::string name, cudaStream_t stream)
      : device_(device), name_(std::move(name)), stream_(stream) {}
  CudaSideQueue(const CudaSideQueue&) = delete;
  CudaSideQueue& operator=(const CudaSideQueue&) = delete;
  ~CudaSideQueue() override {
    cudaSetDevice(device_);
    cudaStreamDestroy(stream_);
  }

  Queue Handle() override {
    Keep(cudaSetDevice(device_));
    return stream_;
  }
  void Copy(void* to, const void* from, std::size_t bytes) override {
    Keep(cudaSetDevice(device_));
    Keep(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_));
  }
  absl::Status Synchronize() override {
    Keep(cudaSetDevice(device_));
    Keep(cudaGetLastError());  // of a launch, by this thread
    Keep(cudaStreamSynchronize(stream_));
    if (first_ == cudaSuccess) return absl::OkStatus();
    return ErrorOf(first_, fmt::format("GPU {} ({}), copying", device_, name_));
  }

 private:
  void Keep(cudaError_t code) {
    if (first_ == cudaSuccess) first_ = code;
  }

  const int device_;
  const std::string name_;
  const cudaStream_t stream_;
  cudaError_t first_ = cudaSuccess;
};

class CudaGraph final : public Graph {
 public:
  explicit CudaGraph(cudaGraphExec_t executable) : executable_(executable) {}
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;
  ~CudaGraph() override { cudaGraphExecDestroy(executable_); }
  [[nodiscard]] cudaGraphExec_t Executable() const { return executable_; }

 private:
  const cudaGraphExec_t executable_;
};

class CudaDevice final : public Device {
 public:
  CudaDevice(DeviceFacts facts, cudaStream_t stream) : facts_(std::move(facts)), stream_(stream) {}
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;
  ~CudaDevice() override {
    EnterThread();
    for (const cudaEvent_t event : events_) cudaEventDestroy(event);
    cudaStreamDestroy(stream_);
  }

  const DeviceFacts& Facts() const override { return facts_; }
  const Launches& Kernels() const override { return kDeviceLaunches; }
  Queue MainQueue() override {
    EnterThread();  // another rank's device may have been the last
    return stream_;
  }
  void EnterThread() override { Keep(cudaSetDevice(facts_.index)); }

  absl::StatusOr<Buffer> Allocate(std::size_t bytes) override {
    EnterThread();
    void* address = nullptr;
    cudaError_t code = cudaMalloc(&address, bytes);
    if (code == cudaSuccess) code = cudaMemsetAsync(address, 0, bytes, stream_);
    if (code == cudaSuccess) code = cudaStreamSynchronize(stream_);
    if (code != cudaSuccess) {
      cudaGetLastError();  // what is told here need not be told by Synchronize
      cudaFree(address);
      return ErrorOf(code, fmt::format("GPU {}: cannot allocate {} bytes", facts_.index, bytes));
    }
    return Buffer({.address = static_cast<std::byte*>(address),
                   .bytes = bytes,
                   .kind = MemoryKind::kDevice,
                   .device = facts_.index},
                  FreeDevice);
  }

  absl::StatusOr<Buffer> AllocatePinned(std::size_t bytes) override {
    EnterThread();
    void* address = nullptr;
    const cudaError_t code = cudaHostAlloc(&address, bytes, cudaHostAllocPortable);
    if (code != cudaSuccess) {
      cudaGetLastError();
      return ErrorOf(code, fmt::format("cannot pin {} bytes of host memory (see ulimit -l)", bytes));
    }
    std::memset(address, 0, bytes);
    return Buffer({.address = static_cast<std::byte*>(address), .bytes = bytes, .kind = MemoryKind::kPinned},
                  FreePinned);
  }

  void Copy(void* to, const void* from, std::size_t bytes) override {
    EnterThread();
    Keep(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_));
  }

  absl::Status Synchronize() override {
    EnterThread();
    Keep(cudaStreamSynchronize(stream_));
    Keep(cudaGetLastError());  // of a launch
    if (first_ == cudaSuccess) return absl::OkStatus();
    return ErrorOf(first_, fmt::format("GPU {} ({})", facts_.index, facts_.name));
  }

  void Record(std::size_t event) override {
    EnterThread();
    while (events_.size() <= event) {
      cudaEvent_t made = nullptr;
      Keep(cudaEventCreateWithFlags(&made, cudaEventDisableTiming));
      events_.push_back(made);
    }
    Keep(cudaEventRecord(events_[event], stream_));
  }
  bool Happened(std::size_t event) override {
    const cudaError_t code = cudaEventQuery(events_.at(event));
    if (code == cudaErrorNotReady) return false;
    Keep(code);
    return true;
  }
  void Await(std::size_t event) override { Keep(cudaEventSynchronize(events_.at(event))); }

  void BeginCapture() override {
    EnterThread();
    // Of this thread alone: others allocate and copy meanwhile.
    Keep(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  absl::StatusOr<std::unique_ptr<Graph>> EndCapture() override {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t executable = nullptr;
    cudaError_t code = cudaStreamEndCapture(stream_, &graph);
    if (code == cudaSuccess) code = cudaGetLastError();  // of a launch
    if (code == cudaSuccess) code = cudaGraphInstantiate(&executable, graph, 0);
    if (graph != nullptr) cudaGraphDestroy(graph);
    if (code != cudaSuccess) {
      cudaGetLastError();  // what is told here need not be told by Synchronize
      return ErrorOf(code, fmt::format("GPU {}: a step cannot become a graph", facts_.index));
    }
    return std::make_unique<CudaGraph>(executable);
  }
  void Enqueue(const Graph& graph) override {
    EnterThread();
    Keep(cudaGraphLaunch(static_cast<const CudaGraph&>(graph).Executable(), stream_));
  }

  absl::StatusOr<std::unique_ptr<SideQueue>> CreateSideQueue() override {
    EnterThread();
    int least = 0;
    int greatest = 0;
    cudaError_t code = cudaDeviceGetStreamPriorityRange(&least, &greatest);
    cudaStream_t stream = nullptr;
    if (code == cudaSuccess) code = cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest);
    if (code != cudaSuccess) {
      cudaGetLastError();
      return ErrorOf(code, fmt::format("GPU {}: cannot make a queue for copies", facts_.index));
    }
    return std::make_unique<CudaSideQueue>(facts_.index, facts_.name, stream);
  }

 private:
  /// An event that has not happened yet is no error, also where cudaGetLastError repeats it.
  void Keep(cudaError_t code) {
    if (first_ == cudaSuccess && code != cudaErrorNotReady) first_ = code;
  }

  const DeviceFacts facts_;
  const cudaStream_t stream_;
  std::vector<cudaEvent_t> events_;
  cudaError_t first_ = cudaSuccess;
};

/// Fit for this backend.
absl::StatusOr<cudaDeviceProp> PropertiesOf(int index) {
  int count = 0;
  cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess || count == 0) {
    return Error(kFailedPrecondition, "no GPU can be used: {}; see what nvidia-smi says",
                 code == cudaSuccess ? "the driver lists none" : cudaGetErrorString(code));
  }
  if (index < 0 || index >= count) {
    return Error(kFailedPrecondition, "there is no GPU {}: the driver lists {}, counted from 0", index,
                 count);
  }
  cudaDeviceProp properties{};
  code = cudaGetDeviceProperties(&properties, index);
  if (code != cudaSuccess) return ErrorOf(code, fmt::format("GPU {}: cannot read its properties", index));
  if (properties.major < 8) {
    return Error(kFailedPrecondition, "GPU {} ({}) is of compute capability {}.{}; 8.0 is the least", index,
                 properties.name, properties.major, properties.minor);
  }
  return properties;
}

}  // namespace

absl::StatusOr<DeviceFacts> FindDevice(int index) {
  BATON_ASSIGN_OR_RETURN(const cudaDeviceProp properties, PropertiesOf(index));
  DeviceFacts facts{.name = properties.name,
                    .architecture = fmt::format("sm{}{}", properties.major, properties.minor),
                    .index = index,
                    .processors = properties.multiProcessorCount,
                    .shared_bytes = static_cast<int>(properties.sharedMemPerBlockOptin),
                    .fp8 = 10 * properties.major + properties.minor >= 89};
  BATON_RETURN_IF_ERROR(HasSharedMemory(facts));
  return facts;
}

absl::StatusOr<std::unique_ptr<Device>> OpenDevice(int index) {
  BATON_ASSIGN_OR_RETURN(DeviceFacts facts, FindDevice(index));
  cudaError_t code = cudaSetDevice(index);
  cudaStream_t stream = nullptr;
  if (code == cudaSuccess) code = static_cast<cudaError_t>(LoadDeviceKernels());
  if (code == cudaSuccess) code = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
  if (code != cudaSuccess)
    return ErrorOf(code, fmt::format("GPU {} ({}): cannot open it", index, facts.name));
  return std::make_unique<CudaDevice>(std::move(facts), stream);
}

}  // namespace baton::kernels::cuda

namespace baton::kernels {

absl::StatusOr<std::string> CudaBusId(int device) {
  std::array<char, 32> text{};
  const cudaError_t code = cudaDeviceGetPCIBusId(text.data(), static_cast<int>(text.size()), device);
  if (code == cudaSuccess) return std::string(text.data());
  cudaGetLastError();
  return Error(kFailedPrecondition, "GPU {}: its place on the PCI bus is not known: {}", device,
               cudaGetErrorString(code));
}

}  // namespace baton::kernels
