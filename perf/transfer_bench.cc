#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>

#include "common/base/check.h"
#include "tests/integration/network.h"
#include "tests/kvtransfer/worker.h"

/// baton-transfer-bench: the hand-off between two ends in one process, over UCX on the loopback interface (or
/// between two network namespaces) and in shared memory, beside what the machine does with the same bytes by
/// memcpy, by a plain TCP stream and by UCX's own tool. All are measured in turn within each repetition: the
/// machine's moods meet all alike.
namespace baton::perf {
namespace {

using test::Worker;

constexpr int kLayers = 4;
constexpr std::size_t kLayerBytes = 8U << 20;      // 32 MiB a prompt
constexpr std::size_t kStreamCall = 1U << 20;      // bytes a call of a plain TCP stream
constexpr std::size_t kBlockBytesMax = 64U << 10;  // longer runs are of several blocks

struct Options {
  int repeat = 7;
  std::string json;
  std::vector<std::size_t> runs_kib = {4, 16, 64, 256, 1024, 4096};
  bool tool = true;
  bool namespaces = false;  // the two ends live in one each, joined by a veth pair
  bool cores = false;       // each end, and each end of a plain stream, has a core of its own
};

/// Where an end lives.
struct Place {
  std::string net_namespace = {};  // "" = this process's own
  std::string address = "127.0.0.1";
  std::string device = "lo";
  int core = -1;  // its threads run there; -1: anywhere
};
struct Places {
  Place prefill, decode;
};

/// The calling thread, and those that it starts, run on the place's core from here on.
void KeepTo(const Place& place) {
  if (place.core < 0) return;
  cpu_set_t cores;
  CPU_ZERO(&cores);
  CPU_SET(place.core, &cores);
  BATON_CHECK(sched_setaffinity(0, sizeof cores, &cores) == 0, "there is no core {}", place.core);
}

/// The calling thread, and those that it starts, live in a network namespace from here on, and see its
/// devices in /sys, where UCX looks for them.
void MoveInto(const Place& place) {
  if (place.net_namespace.empty()) return;
  const int home = open(("/run/netns/" + place.net_namespace).c_str(), O_RDONLY | O_CLOEXEC);
  BATON_CHECK(home >= 0 && unshare(CLONE_NEWNS) == 0 && setns(home, CLONE_NEWNET) == 0,
              "cannot enter namespace {}", place.net_namespace);
  close(home);
  BATON_CHECK(mount("", "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0 && umount2("/sys", MNT_DETACH) == 0 &&
                  mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0,
              "cannot mount /sys of namespace {}", place.net_namespace);
}

/// GB/s, medians.
struct Row {
  std::size_t run_bytes = 0;
  double checked = 0;    // hand-off over TCP with checksum
  double unchecked = 0;  // without
  double shared = 0;     // in shared memory, without
  double copied = 0;     // memcpy of the same runs
  double stream = 0;     // plain TCP, of the same runs
  double hot = 0;        // plain TCP, of one buffer over and over
  double perftest = 0;   // ucx_perftest with messages of this size; 0: not measured
};

struct Latency {
  double checked_ms = 0;  // one block: last layer computed to acknowledged
  double stream_ms = 0;   // the same bytes over the plain stream, one way, at its bandwidth
};

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return values[values.size() / 2];
}

double Since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

kvtransfer::KvLayout Layout(std::size_t block_bytes) {
  kvtransfer::KvLayout layout = test::TestLayout();
  layout.layers = kLayers;
  layout.kv_heads = 1;
  layout.head_dim = static_cast<int>(block_bytes / (2 * 16 * 4));  // k and v, 16 tokens of 4 bytes
  return layout;
}

/// A prompt's blocks, in runs of `run_bytes` with a gap of one block after each.
struct Prompt {
  explicit Prompt(std::size_t run_bytes)
      : block_bytes(std::min(run_bytes, kBlockBytesMax)),
        run(static_cast<std::uint32_t>(run_bytes / block_bytes)) {
    for (std::uint32_t i = 0; i < kLayerBytes / block_bytes; ++i) blocks.emplace_back(i + i / run);
  }
  std::size_t block_bytes;
  std::uint32_t run;
  std::vector<BlockIndex> blocks;
};

struct HandedOver {
  kvtransfer::TransferStats stats;
  double seconds = 0;  // from the first layer's report to the sender's being told of the acknowledgement
};

struct Ends {
  Ends(const Places& places, const Prompt& prompt, bool checksum, const std::string& tls)
      : prefill(Setup(1, places.prefill, prompt, checksum, tls)),
        decode(Setup(2, places.decode, prompt, checksum, tls)) {
    const auto info = [](Worker& worker, const Place& place, bool dial) {
      kvtransfer::PeerInfo peer = worker.Info(dial);
      peer.address.host = place.address;
      return peer;
    };
    decode.SetPeers({info(prefill, places.prefill, false)});
    prefill.SetPeers({info(decode, places.decode, true)});
    BATON_CHECK(prefill.WaitReady(WorkerId(2)) && decode.WaitReady(WorkerId(1)),
                "the two ends did not become ready");
  }
  static test::WorkerSetup Setup(std::uint32_t id, const Place& place, const Prompt& prompt, bool checksum,
                                 const std::string& tls) {
    return {.id = WorkerId(id),
            .transport = "ucx",
            .blocks = prompt.blocks.back().value + 1,
            .layout = Layout(prompt.block_bytes),
            .adjust =
                [place, checksum, tls](kvtransfer::HandoffOptions& options) {
                  options.checksum = checksum;
                  options.tls = tls;
                  options.listen.host = place.address;
                  options.net_device = place.device;
                },
            // Called on the end's own loop, before anything is opened there.
            .make =
                [place](const kvtransfer::HandoffOptions& options) {
                  KeepTo(place);
                  MoveInto(place);
                  return kvtransfer::CreateUcxTransport(options);
                }};
  }
  /// One hand-off of a computed prompt; the grant is there before.
  HandedOver HandOver(const std::vector<BlockIndex>& blocks) {
    const RequestKey key = test::Key(++request);
    const auto receipt = decode.Receive(key, prefill, blocks);
    const auto dispatch = prefill.Send(key, decode, blocks);
    BATON_CHECK(dispatch->WaitFor([](const auto& s) { return s.granted; }));
    const auto begin = std::chrono::steady_clock::now();
    prefill.Produce(key, blocks.size());
    BATON_CHECK(receipt->WaitFor([](const auto& r) { return r.released == 1 && r.committed.has_value(); }));
    BATON_CHECK(dispatch->WaitFor([](const auto& s) { return s.ended == kvtransfer::TransferEnd::kAcked; }));
    const double seconds = Since(begin);
    return {.stats = dispatch->Get().stats, .seconds = seconds};
  }
  Worker prefill, decode;
  std::uint64_t request = 0;
};

double HandOffSpeed(Ends& ends, const Prompt& prompt) {
  const HandedOver done = ends.HandOver(prompt.blocks);
  return static_cast<double>(done.stats.bytes) / done.seconds / 1e9;
}

double CopySpeed(Ends& ends, const Prompt& prompt) {
  const auto begin = std::chrono::steady_clock::now();
  for (int layer = 0; layer < kLayers; ++layer) {
    for (std::size_t at = 0; at < prompt.blocks.size(); at += prompt.run) {
      std::memcpy(ends.decode.Block(layer, prompt.blocks[at]).data(),
                  ends.prefill.Block(layer, prompt.blocks[at]).data(), prompt.run * prompt.block_bytes);
    }
  }
  return static_cast<double>(kLayers * kLayerBytes) / Since(begin) / 1e9;
}

/// UCX's own tool over TCP with messages of `bytes`; 0 where it is not installed or does not end in time.
double PerftestSpeed(std::size_t bytes) {
  const std::string command = fmt::format(
      "command -v ucx_perftest >/dev/null || exit 0; export UCX_TLS=tcp,self UCX_NET_DEVICES=lo; "
      "timeout 20 ucx_perftest -p 13377 -E sleep >/dev/null 2>&1 & server=$!; "
      "for try in 1 2 3 4 5 6 7 8 9 10; do out=$(timeout 20 ucx_perftest 127.0.0.1 -p 13377 -t ucp_am_bw -s "
      "{} -n {} "
      "-w 4 -E sleep -f -v 2>/dev/null) && break; done; wait $server; echo \"$out\" | tail -n 1",
      bytes, std::max<std::size_t>(20, (32U << 20) / bytes));
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return 0;
  double columns[6] = {};
  const int read = std::fscanf(pipe, "%lf,%lf,%lf,%lf,%lf,%lf", &columns[0], &columns[1], &columns[2],
                               &columns[3], &columns[4], &columns[5]);
  pclose(pipe);
  return read == 6 ? columns[5] * 1048576 / 1e9 : 0;
}

/// What a plain TCP stream writes, or reads into, 1 MiB a call.
using Memory = std::vector<iovec>;

/// The runs of `prompt` in the memory of one end, or parts of them: at most 1 MiB a piece.
Memory MemoryOf(Worker& end, const Prompt& prompt) {
  Memory memory;
  for (int layer = 0; layer < kLayers; ++layer) {
    for (std::size_t at = 0; at < prompt.blocks.size(); at += prompt.run) {
      auto* begin = reinterpret_cast<char*>(end.Block(layer, prompt.blocks[at]).data());
      const std::size_t bytes = prompt.run * prompt.block_bytes;
      for (std::size_t done = 0; done < bytes; done += kStreamCall)
        memory.push_back({begin + done, std::min(kStreamCall, bytes - done)});
    }
  }
  return memory;
}

/// The part of `memory` from piece `piece` on, less the first `skip` bytes of it, for one call of 1 MiB.
Memory NextCall(const Memory& memory, std::size_t piece, std::size_t skip) {
  Memory call;
  std::size_t bytes = 0;
  for (; piece < memory.size() && bytes < kStreamCall && call.size() < IOV_MAX; ++piece, skip = 0) {
    const std::size_t length = std::min(memory[piece].iov_len - skip, kStreamCall - bytes);
    call.push_back({static_cast<char*>(memory[piece].iov_base) + skip, length});
    bytes += length;
  }
  return call;
}

/// Moves all of `memory` by `readv` or `writev`.
template <typename Call>
std::size_t MoveAll(const Memory& memory, const Call& vector_call) {
  std::size_t moved = 0;
  for (std::size_t piece = 0, skip = 0; piece < memory.size();) {
    const Memory call = NextCall(memory, piece, skip);
    const ssize_t count = vector_call(call.data(), static_cast<int>(call.size()));
    BATON_CHECK(count > 0);
    moved += static_cast<std::size_t>(count);
    for (skip += static_cast<std::size_t>(count); piece < memory.size() && skip >= memory[piece].iov_len;
         ++piece)
      skip -= memory[piece].iov_len;
  }
  return moved;
}

/// A plain TCP stream between the places: one writer, one reader.
double StreamSpeed(const Places& places, const Memory& from, const Memory& into) {
  // The socket belongs to the namespace in which it was made, whichever thread reads it.
  const test::NamespaceScope inside(places.decode.net_namespace);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  BATON_CHECK(inet_pton(AF_INET, places.decode.address.c_str(), &address.sin_addr) == 1);
  socklen_t length = sizeof address;
  BATON_CHECK(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
              listen(listener, 1) == 0 &&
              getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  std::thread writer([&] {
    KeepTo(places.prefill);
    const test::NamespaceScope there(places.prefill.net_namespace);
    const int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    BATON_CHECK(connect(out, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
    MoveAll(from, [&](const iovec* pieces, int count) { return writev(out, pieces, count); });
    close(out);
  });
  const int in = accept(listener, nullptr, nullptr);
  double speed = 0;
  std::thread reader([&] {
    KeepTo(places.decode);
    const auto begin = std::chrono::steady_clock::now();
    const std::size_t bytes =
        MoveAll(into, [&](const iovec* pieces, int count) { return readv(in, pieces, count); });
    speed = static_cast<double>(bytes) / Since(begin) / 1e9;
  });
  reader.join();
  writer.join();
  close(in);
  close(listener);
  return speed;
}

/// From one buffer of 1 MiB into another, over and over: neither leaves the caches.
double HotStreamSpeed(const Places& places) {
  std::vector<char> from(kStreamCall, 'x');
  std::vector<char> into(kStreamCall);
  const std::size_t calls = kLayers * kLayerBytes / kStreamCall;
  return StreamSpeed(places, Memory(calls, {from.data(), from.size()}),
                     Memory(calls, {into.data(), into.size()}));
}

Latency MeasureLatency(Ends& ends, double stream, int repeat) {
  std::vector<double> whole;
  const std::vector<BlockIndex> one = {BlockIndex(0)};
  for (int i = 0; i < 20 * repeat; ++i) whole.push_back(Milliseconds(ends.HandOver(one).stats.whole));
  return {.checked_ms = Median(whole),
          .stream_ms = static_cast<double>(kLayers * kBlockBytesMax) / stream / 1e6};
}

Row Measure(const Places& places, std::size_t run_bytes, int repeat, bool tool) {
  const Prompt prompt(run_bytes);
  Ends checked(places, prompt, true, "tcp,self");
  Ends unchecked(places, prompt, false, "tcp,self");
  Places here;
  here.prefill.core = places.prefill.core;
  here.decode.core = places.decode.core;
  Ends shared(here, prompt, false, "posix,sysv,cma,self");
  std::vector<double> figures[7];
  for (int i = 0; i <= repeat; ++i) {
    const double now[7] = {
        HandOffSpeed(checked, prompt),
        HandOffSpeed(unchecked, prompt),
        HandOffSpeed(shared, prompt),
        CopySpeed(checked, prompt),
        StreamSpeed(places, MemoryOf(checked.prefill, prompt), MemoryOf(checked.decode, prompt)),
        tool ? PerftestSpeed(run_bytes) : 0,
        HotStreamSpeed(places)};
    for (std::size_t k = 0; i > 0 && k < 7; ++k) figures[k].push_back(now[k]);  // the first touches the pages
  }
  return {.run_bytes = run_bytes,
          .checked = Median(figures[0]),
          .unchecked = Median(figures[1]),
          .shared = Median(figures[2]),
          .copied = Median(figures[3]),
          .stream = Median(figures[4]),
          .hot = Median(figures[6]),
          .perftest = Median(figures[5])};
}

void Print(const Row& row) {
  std::printf("| %zu KiB | %.2f | %.2f | %.2f | %.0f %% | %.2f | %.0f %% | %s | %.2f | %.2f | %.0f %% |\n",
              row.run_bytes >> 10, row.hot, row.stream, row.unchecked, 100 * row.unchecked / row.stream,
              row.checked, 100 * row.checked / row.stream,
              row.perftest > 0 ? fmt::format("{:.2f}", row.perftest).c_str() : "-", row.copied, row.shared,
              100 * row.shared / row.copied);
  std::fflush(stdout);
}

void WriteJson(const std::string& path, const std::vector<Row>& rows, const Latency& latency) {
  std::ofstream out(path);
  out << fmt::format("{{\"one_block_ms\": {:.4f}, \"one_block_non_wire_ms\": {:.4f}, \"runs\": [",
                     latency.checked_ms, latency.checked_ms - latency.stream_ms);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    out << fmt::format(
        "{}\n  {{\"run_bytes\": {}, \"checksum_gb_s\": {:.4f}, \"no_checksum_gb_s\": {:.4f}, "
        "\"shared_gb_s\": {:.4f}, "
        "\"memcpy_gb_s\": {:.4f}, \"stream_gb_s\": {:.4f}, \"hot_stream_gb_s\": {:.4f}, \"perftest_gb_s\": "
        "{:.4f}}}",
        i == 0 ? "" : ",", rows[i].run_bytes, rows[i].checked, rows[i].unchecked, rows[i].shared,
        rows[i].copied, rows[i].stream, rows[i].hot, rows[i].perftest);
  }
  out << "\n]}\n";
}

int RunIn(const Options& options, const Places& places) {
  std::printf(
      "| run | TCP stream, hot GB/s | TCP stream GB/s | hand-off | of it | with checksum | of it | "
      "ucx_perftest | memcpy | shared "
      "memory | of "
      "memcpy |\n|---|---|---|---|---|---|---|---|---|---|---|\n");
  std::vector<Row> rows;
  for (const std::size_t kib : options.runs_kib) {
    rows.push_back(Measure(places, kib << 10, options.repeat, options.tool));
    Print(rows.back());
  }
  const Prompt prompt(kBlockBytesMax);
  Ends ends(places, prompt, true, "tcp,self");
  const Latency latency = MeasureLatency(ends, rows.back().hot, options.repeat);
  std::printf(
      "\none block of 4 layers (256 KiB), computed to acknowledged: p50 %.3f ms, of which %.3f ms are not "
      "wire\n",
      latency.checked_ms, latency.checked_ms - latency.stream_ms);
  if (!options.json.empty()) WriteJson(options.json, rows, latency);
  return 0;
}

int Run(Options options) {
  const int first = options.cores ? 0 : -1;
  const int second = options.cores ? 1 : -1;
  if (!options.namespaces) return RunIn(options, {.prefill = {.core = first}, .decode = {.core = second}});
  const auto network = test::NetworkPair::Create();
  if (!network.ok()) {
    std::fprintf(stderr, "baton-transfer-bench: no network namespaces: %s\n",
                 Message(network.status()).c_str());
    return 1;
  }
  options.tool = false;  // it runs on loopback
  const auto place = [](const test::NetworkPair::Side& side, int core) {
    return Place{.net_namespace = side.name, .address = side.address, .device = side.device, .core = core};
  };
  return RunIn(options,
               {.prefill = place((*network)->First(), first), .decode = place((*network)->Second(), second)});
}

}  // namespace
}  // namespace baton::perf

int main(int argc, char** argv) {
  baton::perf::Options options;
  CLI::App app(
      "Measures the KV hand-off over UCX, TCP and shared memory, beside memcpy, a plain TCP stream and "
      "ucx_perftest.");
  app.add_option("--repeat", options.repeat, "Repetitions of each measurement; medians are printed")
      ->check(CLI::Range(1, 1000));
  app.add_option("--runs", options.runs_kib, "Lengths of the runs, KiB")
      ->delimiter(',')
      ->check(CLI::IsMember({4, 16, 64, 256, 1024, 4096}));
  app.add_flag("!--no-perftest", options.tool, "Without UCX's own tool");
  app.add_flag("--namespaces", options.namespaces,
               "TCP between two network namespaces instead of on loopback (root, iproute2)");
  app.add_flag("--cores", options.cores,
               "Each end, and each end of a plain stream, on a core of its own (0 and 1)");
  app.add_option("--json", options.json, "Also write the figures to this file");
  CLI11_PARSE(app, argc, argv);
  return baton::perf::Run(options);
}
