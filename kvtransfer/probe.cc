#include "kvtransfer/probe.h"

#include <string>

namespace baton::kvtransfer {

Probe::Probe(metrics::Registry& registry) {
  const std::string_view bytes = "KV bytes moved by finished transfers, and received by any";
  sent_bytes_ = registry.AddCounter("baton_kvtransfer_bytes_total", bytes, {{"direction", "sent"}});
  received_bytes_ = registry.AddCounter("baton_kvtransfer_bytes_total", bytes, {{"direction", "received"}});
  for (const TransferEnd end :
       {TransferEnd::kAcked, TransferEnd::kFailed, TransferEnd::kAborted, TransferEnd::kExpired}) {
    const std::string name(Name(end));
    const auto index = static_cast<std::size_t>(end);
    send_ends_[index] = registry.AddCounter("baton_kvtransfer_transfers_total", "Transfers by how they ended",
                                            {{"direction", "sent"}, {"end", name}});
    receive_ends_[index] =
        registry.AddCounter("baton_kvtransfer_transfers_total", "Transfers by how they ended",
                            {{"direction", "received"}, {"end", name}});
  }
  checksum_failures_ =
      registry.AddCounter("baton_kvtransfer_checksum_failures_total", "Messages whose checksum differed");
  stale_ = registry.AddCounter("baton_kvtransfer_stale_messages_total",
                               "Control messages of transfers that are unknown here or have ended");
  dropped_ =
      registry.AddGauge("baton_kvtransfer_dropped_messages",
                        "Data messages dropped since the start: malformed, stale or outside their grant");
  live_ = registry.AddGauge("baton_kv_grants", "Live transfers, either direction, aborting ones included");
  peers_ready_ = registry.AddGauge("baton_kvtransfer_peers_ready", "Peers connected, warmed and measured");
  handshakes_refused_ =
      registry.AddGauge("baton_kvtransfer_handshake_refusals",
                        "Connections refused so far: without the cluster's key, or no peer's");
  layer_wise_bytes_ = registry.AddGauge("baton_kvtransfer_layer_wise_bytes_min",
                                        "From so many bytes of a layer on they are sent while the next one "
                                        "is computed; as configured, or as last fitted");
  wire_seconds_ =
      registry.AddHistogram("baton_kvtransfer_duration_seconds", "Something of a transfer was on the wire",
                            {}, metrics::LatencyBuckets());
  exposed_seconds_ =
      registry.AddHistogram("baton_kvtransfer_exposed_seconds", "Of that, after the last step had ended", {},
                            metrics::LatencyBuckets());
}

void Probe::Sent(TransferEnd end, const TransferStats& stats) const {
  send_ends_[static_cast<std::size_t>(end)].Increment();
  if (end != TransferEnd::kAcked) return;
  sent_bytes_.Increment(static_cast<double>(stats.bytes));
  wire_seconds_.Observe(Seconds(stats.wire));
  exposed_seconds_.Observe(Seconds(stats.exposed));
}

void Probe::Received(std::uint64_t bytes) const {
  received_bytes_.Increment(static_cast<double>(bytes));
}

void Probe::ReceiveEnded(TransferEnd end) const {
  receive_ends_[static_cast<std::size_t>(end)].Increment();
}

}  // namespace baton::kvtransfer
