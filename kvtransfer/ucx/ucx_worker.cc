#include "kvtransfer/ucx/ucx_worker.h"

#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "common/base/check.h"
#include "common/base/error.h"
#include "common/base/log.h"
#include "kvtransfer/send_plan.h"
#include "kvtransfer/ucx/broken_peer.h"
#include "kvtransfer/ucx/one_event.h"

namespace baton::kvtransfer::ucx {
namespace {

/// Longest sleep of the transfer thread: a lost wake-up costs this much, never a hang.
constexpr int kSleepMillisecondsMax = 200;
/// With a timer set it sleeps no longer than this.
constexpr int kTimerMilliseconds = 10;
/// Of a segment besides a message's payload: headers, and the begin of the next message.
constexpr std::size_t kSegmentHeadroomBytes = 64U << 10;
/// How often a close that waits for connections in the making looks at them.
constexpr Duration kSettleLook = std::chrono::milliseconds(5);
/// Rounds of progress before posted work (an abort, a close) has its turn, however busy the wire is.
constexpr int kProgressMax = 256;

absl::Status FromUcx(ucs_status_t status, std::string_view what) {
  return Error(kUnavailable, "UCX: {}: {}", what, ucs_status_string(status));
}

/// Sets NAME unless the environment has UCX_NAME: what the operator exported wins.
absl::Status Set(ucp_config_t* config, const std::string& name, const std::string& value) {
  const std::string prefix = "UCX_" + name + "=";
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, prefix.c_str(), prefix.size()) == 0) return absl::OkStatus();
  }
  const ucs_status_t status = ucp_config_modify(config, name.c_str(), value.c_str());
  if (status != UCS_OK) return FromUcx(status, fmt::format("setting {}={}", name, value));
  return absl::OkStatus();
}

absl::Status Configure(ucp_config_t* config, const HandoffOptions& options) {
  BATON_RETURN_IF_ERROR(Set(config, "TLS", options.tls));
  if (!options.net_device.empty()) BATON_RETURN_IF_ERROR(Set(config, "NET_DEVICES", options.net_device));
  // 1.13 knows a transport's options without the transport's name, later ones with it.
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  ucp_get_version(&major, &minor, &release);
  const std::string segment = major == 1 && minor <= 13 ? "" : "TCP_";
  if (options.tls.starts_with("tcp")) {
    // A message goes as one segment: it is read from its places by one call, and lies whole in UCX's buffer
    // when it is copied out. A peer with shorter segments fails an assertion: they are part of the protocol.
    BATON_RETURN_IF_ERROR(Set(config, segment + "TX_SEG_SIZE", "64k"));
    BATON_RETURN_IF_ERROR(
        Set(config, segment + "RX_SEG_SIZE", fmt::format("{}", kMessageBytes + kSegmentHeadroomBytes)));
    BATON_RETURN_IF_ERROR(Set(config, segment + "MAX_IOV", fmt::format("{}", kMessageRunsMax + 1)));
  }
  BATON_RETURN_IF_ERROR(Set(config, "MAX_RNDV_RAILS", "1"));  // two rails of one host collide
  BATON_RETURN_IF_ERROR(Set(config, "MEMTYPE_CACHE", "n"));
  BATON_RETURN_IF_ERROR(Set(config, "KEEPALIVE_INTERVAL", "1s"));
  if (options.tls.find("posix") != std::string::npos || options.tls.find("sysv") != std::string::npos) {
    BATON_RETURN_IF_ERROR(Set(config, "MM_ERROR_HANDLING", "y"));  // without it a dead peer is never noticed
  }
  return absl::OkStatus();
}

absl::StatusOr<ucp_context_h> MakeContext(const HandoffOptions& options) {
  ucp_config_t* config = nullptr;
  ucs_status_t status = ucp_config_read(nullptr, nullptr, &config);
  if (status != UCS_OK) return FromUcx(status, "reading its configuration");
  const absl::Status configured = Configure(config, options);
  ucp_context_h context = nullptr;
  if (configured.ok()) {
    ucp_params_t params{};
    params.field_mask = UCP_PARAM_FIELD_FEATURES;
    params.features =
        UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;  // no remote memory access: peers name no addresses
    status = ucp_init(&params, config, &context);
  }
  ucp_config_release(config);
  if (!configured.ok()) return configured;
  if (status != UCS_OK) {
    return Error(
        kUnavailable,
        "UCX finds no transport among '{}' on interface '{}' ({}); see `ucx_info -d`, and check that the "
        "interface exists and that the unit allows AF_NETLINK",
        options.tls, options.net_device.empty() ? "all" : options.net_device, ucs_status_string(status));
  }
  return context;
}

/// The transport that the configuration names first must be there: UCX goes on silently with whatever else it
/// has (with `self` alone where the interface is down), and the worker would look healthy but be unreachable.
absl::Status CheckTransport(ucp_context_h context, const std::string& transport, const std::string& device) {
  char* text = nullptr;
  std::size_t length = 0;
  FILE* stream = open_memstream(&text, &length);
  if (stream == nullptr) return Error(kResourceExhausted, "open_memstream: {}", std::strerror(errno));
  ucp_context_print_info(context, stream);
  std::fclose(stream);
  const std::string resources(text, length);
  std::free(text);
  const std::string wanted = transport + "/" + (transport == "tcp" ? device : "");
  if (resources.find(wanted) != std::string::npos) return absl::OkStatus();
  return Error(kUnavailable,
               "UCX has no transport {} on interface '{}'; is the interface up (`ip link`), and does "
               "`ucx_info -d` list it?",
               transport, device.empty() ? "any" : device);
}

/// What UCX cannot say, it cannot do.
bool ReadsCudaMemory(ucp_context_h context) {
  ucp_context_attr_t attributes{};
  attributes.field_mask = UCP_ATTR_FIELD_MEMORY_TYPES;
  return ucp_context_query(context, &attributes) == UCS_OK &&
         (attributes.memory_types & UCS_BIT(UCS_MEMORY_TYPE_CUDA)) != 0;
}

std::vector<int> ListeningSockets() {
  std::vector<int> found;
  DIR* folder = opendir("/proc/self/fd");
  if (folder == nullptr) return found;
  while (const dirent* entry = readdir(folder)) {
    const int descriptor = std::atoi(entry->d_name);
    int listens = 0;
    socklen_t length = sizeof listens;
    if (getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens != 0)
      found.push_back(descriptor);
  }
  closedir(folder);
  return found;
}

/// What UCX accepts inherits this. 1.13.1 asks only for connections that it made whether their peer is there:
/// one that it accepted, and sends nothing over, would stay for ever where the peer's reset was lost.
void KeepAlive(int listener) {
  const int on = 1;
  const int idle_s = 10;  // as UCX does for the others
  const int interval_s = 2;
  const int count = 3;
  bool set = setsockopt(listener, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on) == 0;
  set &= setsockopt(listener, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s) == 0;
  set &= setsockopt(listener, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s) == 0;
  set &= setsockopt(listener, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count) == 0;
  if (!set) LogWarning("ucx_no_keepalive", {{"error", std::strerror(errno)}});
}

}  // namespace

absl::StatusOr<std::unique_ptr<UcxWorker>> UcxWorker::Create(const HandoffOptions& options) {
  unsigned major = 0;
  unsigned minor = 0;
  unsigned release = 0;
  ucp_get_version(&major, &minor, &release);
  if (UCP_VERSION(major, minor) < UCP_API_VERSION) {
    return Error(kUnavailable, "UCX {}.{}.{} is installed, this program was built for {}.{} or newer", major,
                 minor, release, UCP_API_MAJOR, UCP_API_MINOR);
  }
  if (!OneEventAtATime::Works() || !BrokenPeer::Works()) {
    return Error(kInternal,
                 "this program does not stand between UCX and its sockets (kvtransfer/ucx/one_event.h, "
                 "broken_peer.h)");
  }
  auto result = std::make_unique<UcxWorker>(Private{});
  BATON_ASSIGN_OR_RETURN(result->context_, MakeContext(options));
  result->transport_ = options.tls.substr(0, options.tls.find(','));
  BATON_RETURN_IF_ERROR(CheckTransport(result->context_, result->transport_, options.net_device));
  result->sees_cuda_ = ReadsCudaMemory(result->context_);
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;  // made here, used on its own thread
  const std::vector<int> before = ListeningSockets();
  ucs_status_t status = ucp_worker_create(result->context_, &params, &result->worker_);
  if (status != UCS_OK) return FromUcx(status, "creating a worker");
  for (const int listener : ListeningSockets()) {
    if (std::ranges::find(before, listener) == before.end()) KeepAlive(listener);
  }
  status = ucp_worker_get_efd(result->worker_, &result->ucx_descriptor_);
  if (status != UCS_OK) return FromUcx(status, "getting the event descriptor");
  ucp_address_t* address = nullptr;
  std::size_t length = 0;
  status = ucp_worker_get_address(result->worker_, &address, &length);
  if (status != UCS_OK) return FromUcx(status, "getting the worker's address");
  result->address_.assign(reinterpret_cast<const char*>(address), length);
  ucp_worker_release_address(result->worker_, address);
  result->wake_descriptor_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (result->wake_descriptor_ < 0) return Error(kResourceExhausted, "eventfd: {}", std::strerror(errno));
  return result;
}

UcxWorker::~UcxWorker() {
  BATON_CHECK(!thread_.joinable(), "Stop was not called");
  if (unfinished_) {
    // Destroying a worker with unfinished requests aborts the process on 1.13.1; leaving it costs a little
    // memory.
    LogWarning("ucx_left_open", {{"why", "requests did not end within the patience of the shutdown"}});
    worker_ = nullptr;
    context_ = nullptr;
  }
  const BrokenPeer guard;
  if (worker_ != nullptr) ucp_worker_destroy(worker_);
  if (context_ != nullptr) ucp_cleanup(context_);
  if (wake_descriptor_ >= 0) close(wake_descriptor_);
}

void UcxWorker::Start() {
  thread_ = std::thread([this] { Run(); });
}

void UcxWorker::Post(std::function<void()> work) {
  {
    const MutexLock lock(mutex_);
    posted_.push_back(std::move(work));
  }
  const std::uint64_t one = 1;
  const ssize_t written = write(wake_descriptor_, &one, sizeof one);
  BATON_CHECK(written == sizeof one || errno == EAGAIN, "eventfd: {}", std::strerror(errno));
}

void UcxWorker::PostAfter(Duration delay, std::function<void()> work) {
  later_.emplace(std::chrono::steady_clock::now() + delay, std::move(work));
}

void UcxWorker::WhenSettled(Duration patience, std::function<void()> work) {
  Settle(std::chrono::steady_clock::now(), patience, std::move(work));
}

void UcxWorker::Settle(TimePoint moment, Duration patience, std::function<void()> work) {
  const bool give_up = std::chrono::steady_clock::now() >= moment + patience;
  if (BrokenPeer::Settled(moment, give_up)) return work();
  PostAfter(kSettleLook, [this, moment, patience, work = std::move(work)]() mutable {
    Settle(moment, patience, std::move(work));
  });
}

void UcxWorker::Stop(std::function<bool()> last, Duration patience) {
  if (!thread_.joinable()) return;
  Post([this, last = std::move(last), patience] {
    stop_ = true;
    last_ = last;
    stop_by_ = std::chrono::steady_clock::now() + patience;
  });
  thread_.join();
}

bool UcxWorker::RunPosted() {
  std::vector<std::function<void()>> work;
  {
    const MutexLock lock(mutex_);
    work.swap(posted_);
  }
  const TimePoint now = later_.empty() ? TimePoint() : std::chrono::steady_clock::now();
  while (!later_.empty() && later_.begin()->first <= now) {
    work.push_back(std::move(later_.begin()->second));
    later_.erase(later_.begin());
  }
  const BrokenPeer guard;
  for (const auto& function : work) function();
  return !work.empty();
}

void UcxWorker::Run() {
  while (true) {
    bool busy = RunPosted();
    {
      const OneEventAtATime events;
      const BrokenPeer guard;
      for (int i = 0; i < kProgressMax && ucp_worker_progress(worker_) != 0; ++i) busy = true;
    }
    if (stop_ && last_()) return;
    if (stop_ && std::chrono::steady_clock::now() >= stop_by_) {
      unfinished_ = true;
      return;
    }
    if (!busy) Sleep();
  }
}

void UcxWorker::Sleep() {
  // Armed only with nothing left to progress; BUSY means that something came meanwhile.
  const ucs_status_t status = ucp_worker_arm(worker_);
  if (status == UCS_ERR_BUSY) return;
  pollfd descriptors[2] = {{.fd = ucx_descriptor_, .events = POLLIN, .revents = 0},
                           {.fd = wake_descriptor_, .events = POLLIN, .revents = 0}};
  poll(descriptors, 2, stop_ ? 1 : later_.empty() ? kSleepMillisecondsMax : kTimerMilliseconds);
  if ((descriptors[1].revents & POLLIN) != 0) {
    std::uint64_t count = 0;
    const ssize_t got = read(wake_descriptor_, &count, sizeof count);
    static_cast<void>(got);  // another read may have emptied it
  }
}

}  // namespace baton::kvtransfer::ucx
