#include <arpa/inet.h>
#include <sys/socket.h>
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
#include "tests/kvtransfer/worker.h"

/// baton-transfer-bench: the hand-off between two ends in one process, over UCX on the loopback interface,
/// beside what the machine does with the same bytes by memcpy and by a plain TCP stream in the same minute.
namespace baton::perf {
namespace {

using test::Worker;

constexpr int kLayers = 4;
constexpr std::uint32_t kPromptBlocks = 256;  // 64 KiB each and layer: 64 MiB in all
constexpr std::uint32_t kArenaBlocks = 2 * kPromptBlocks + 1;

struct Options {
  int repeat = 7;
  std::string json;
};

struct Row {
  std::size_t run_bytes = 0;
  double checked = 0;    // GB/s, hand-off with checksum
  double unchecked = 0;  // GB/s, without
  double copied = 0;     // GB/s, memcpy of the same runs
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

kvtransfer::KvLayout Layout() {
  kvtransfer::KvLayout layout = test::TestLayout();
  layout.layers = kLayers;
  layout.kv_heads = 8;  // 2 * 8 heads * 16 tokens * 64 dims * 4 bytes = 64 KiB
  return layout;
}

/// Prompt blocks in runs of `run` blocks with a gap of one after each.
std::vector<BlockIndex> Table(std::uint32_t run) {
  std::vector<BlockIndex> blocks;
  for (std::uint32_t i = 0; i < kPromptBlocks; ++i) blocks.emplace_back(i + i / run);
  return blocks;
}

struct Ends {
  explicit Ends(bool checksum) : prefill(Setup(1, checksum)), decode(Setup(2, checksum)) {
    BATON_CHECK(test::Introduce(prefill, decode), "the two ends did not become ready");
  }
  static test::WorkerSetup Setup(std::uint32_t id, bool checksum) {
    return {.id = WorkerId(id),
            .transport = "ucx",
            .blocks = kArenaBlocks,
            .layout = Layout(),
            .adjust = [checksum](kvtransfer::HandoffOptions& options) { options.checksum = checksum; }};
  }
  /// One hand-off of a computed prompt; the grant is there before.
  kvtransfer::TransferStats HandOver(const std::vector<BlockIndex>& blocks) {
    const RequestKey key = test::Key(++request);
    const auto receipt = decode.Receive(key, prefill, blocks);
    const auto dispatch = prefill.Send(key, decode, blocks);
    BATON_CHECK(dispatch->WaitFor([](const auto& s) { return s.granted; }));
    prefill.Produce(key, blocks.size());
    BATON_CHECK(receipt->WaitFor([](const auto& r) { return r.released == 1 && r.committed.has_value(); }));
    BATON_CHECK(dispatch->WaitFor([](const auto& s) { return s.ended == kvtransfer::TransferEnd::kAcked; }));
    return dispatch->Get().stats;
  }
  Worker prefill, decode;
  std::uint64_t request = 0;
};

double HandOffSpeed(Ends& ends, std::uint32_t run, int repeat) {
  std::vector<double> speeds;
  for (int i = 0; i <= repeat; ++i) {  // the first touches the pages
    const auto stats = ends.HandOver(Table(run));
    if (i > 0) speeds.push_back(static_cast<double>(stats.bytes) / Seconds(stats.wire) / 1e9);
  }
  return Median(speeds);
}

double CopySpeed(Ends& ends, std::uint32_t run, int repeat) {
  const auto blocks = Table(run);
  std::vector<double> speeds;
  for (int i = 0; i <= repeat; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int layer = 0; layer < kLayers; ++layer) {
      for (std::uint32_t at = 0; at < kPromptBlocks; at += run) {
        const std::size_t bytes = std::min(run, kPromptBlocks - at) * Layout().BlockBytes();
        std::memcpy(ends.decode.Block(layer, blocks[at]).data(), ends.prefill.Block(layer, blocks[at]).data(),
                    bytes);
      }
    }
    const double bytes = static_cast<double>(kLayers * kPromptBlocks * Layout().BlockBytes());
    if (i > 0) speeds.push_back(bytes / Since(begin) / 1e9);
  }
  return Median(speeds);
}

/// A plain TCP stream over 127.0.0.1: one writer, one reader, 1 MiB a call.
double StreamSpeed(int repeat) {
  constexpr std::size_t kChunk = 1U << 20;
  constexpr std::size_t kTotal = 256U << 20;
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  BATON_CHECK(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0 &&
              listen(listener, 1) == 0 &&
              getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  std::vector<double> speeds;
  for (int i = 0; i < repeat; ++i) {
    std::thread writer([&] {
      const int out = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      BATON_CHECK(connect(out, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
      const std::vector<char> data(kChunk, 'x');
      for (std::size_t sent = 0; sent < kTotal;) {
        const ssize_t count = write(out, data.data(), std::min(kChunk, kTotal - sent));
        BATON_CHECK(count > 0);
        sent += static_cast<std::size_t>(count);
      }
      close(out);
    });
    const int in = accept(listener, nullptr, nullptr);
    std::vector<char> data(kChunk);
    const auto begin = std::chrono::steady_clock::now();
    for (std::size_t got = 0; got < kTotal;) {
      const ssize_t count = read(in, data.data(), kChunk);
      BATON_CHECK(count > 0);
      got += static_cast<std::size_t>(count);
    }
    speeds.push_back(static_cast<double>(kTotal) / Since(begin) / 1e9);
    writer.join();
    close(in);
  }
  close(listener);
  return Median(speeds);
}

Latency MeasureLatency(Ends& ends, double stream, int repeat) {
  std::vector<double> exposed;
  const std::vector<BlockIndex> one = {BlockIndex(0)};
  for (int i = 0; i < 20 * repeat; ++i) exposed.push_back(Milliseconds(ends.HandOver(one).exposed));
  return {.checked_ms = Median(exposed),
          .stream_ms = static_cast<double>(kLayers * Layout().BlockBytes()) / stream / 1e6};
}

void Print(const std::vector<Row>& rows, double stream, const Latency& latency) {
  std::printf("| run | hand-off, checksum | hand-off, none | memcpy | of the TCP stream (%.2f GB/s) |\n",
              stream);
  std::printf("|---|---|---|---|---|\n");
  for (const Row& row : rows) {
    std::printf("| %zu KiB | %.2f GB/s | %.2f GB/s | %.2f GB/s | %.2f |\n", row.run_bytes >> 10, row.checked,
                row.unchecked, row.copied, row.checked / stream);
  }
  std::printf(
      "\none block of 4 layers (256 KiB), computed to acknowledged: p50 %.3f ms, of which %.3f ms are not "
      "wire\n",
      latency.checked_ms, latency.checked_ms - latency.stream_ms);
}

void WriteJson(const std::string& path, const std::vector<Row>& rows, double stream, const Latency& latency) {
  std::ofstream out(path);
  out << fmt::format(
      "{{\"tcp_stream_gb_s\": {:.4f}, \"one_block_ms\": {:.4f}, \"one_block_non_wire_ms\": {:.4f}, \"runs\": "
      "[",
      stream, latency.checked_ms, latency.checked_ms - latency.stream_ms);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    out << fmt::format(
        "{}\n  {{\"run_bytes\": {}, \"checksum_gb_s\": {:.4f}, \"no_checksum_gb_s\": {:.4f}, "
        "\"memcpy_gb_s\": {:.4f}}}",
        i == 0 ? "" : ",", rows[i].run_bytes, rows[i].checked, rows[i].unchecked, rows[i].copied);
  }
  out << "\n]}\n";
}

int Run(const Options& options) {
  Ends checked(true);
  Ends unchecked(false);
  const double stream = StreamSpeed(options.repeat);
  std::vector<Row> rows;
  for (const std::uint32_t run : {1U, 2U, 4U, 8U, 16U, 64U}) {
    rows.push_back({.run_bytes = run * Layout().BlockBytes(),
                    .checked = HandOffSpeed(checked, run, options.repeat),
                    .unchecked = HandOffSpeed(unchecked, run, options.repeat),
                    .copied = CopySpeed(checked, run, options.repeat)});
  }
  const Latency latency = MeasureLatency(checked, stream, options.repeat);
  Print(rows, stream, latency);
  if (!options.json.empty()) WriteJson(options.json, rows, stream, latency);
  return 0;
}

}  // namespace
}  // namespace baton::perf

int main(int argc, char** argv) {
  baton::perf::Options options;
  CLI::App app(
      "Measures the KV hand-off over UCX on the loopback interface, beside memcpy and a plain TCP stream.");
  app.add_option("--repeat", options.repeat, "Repetitions of each measurement; medians are printed")
      ->check(CLI::Range(1, 1000));
  app.add_option("--json", options.json, "Also write the figures to this file");
  CLI11_PARSE(app, argc, argv);
  return baton::perf::Run(options);
}
