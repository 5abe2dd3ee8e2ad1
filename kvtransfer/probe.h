#pragma once

#include <cstdint>
#include <string_view>

#include "common/metrics/registry.h"
#include "kvtransfer/handoff.h"

namespace baton::kvtransfer {

/// What the hand-off tells Prometheus; only probe.cc knows names, labels and units.
class Probe {
 public:
  explicit Probe(metrics::Registry& registry);
  void Sent(TransferEnd end, const TransferStats& stats) const;
  void Received(std::uint64_t bytes) const;
  void ReceiveEnded(TransferEnd end) const;
  void ChecksumFailed() const { checksum_failures_.Increment(); }
  void Dropped(double total) const { dropped_.Set(total); }
  void LiveTransfers(double count) const { live_.Set(count); }
  void StaleMessage() const { stale_.Increment(); }
  void LayerWiseBytesMin(double bytes) const { layer_wise_bytes_.Set(bytes); }
  void PeersReady(double count) const { peers_ready_.Set(count); }
  void HandshakesRefused(double total) const { handshakes_refused_.Set(total); }

 private:
  metrics::Counter sent_bytes_;
  metrics::Counter received_bytes_;
  metrics::Counter send_ends_[4];
  metrics::Counter receive_ends_[4];
  metrics::Counter checksum_failures_;
  metrics::Counter stale_;
  metrics::Gauge dropped_;
  metrics::Gauge live_;
  metrics::Gauge peers_ready_;
  metrics::Gauge handshakes_refused_;
  metrics::Gauge layer_wise_bytes_;
  metrics::Histogram wire_seconds_;
  metrics::Histogram exposed_seconds_;
};

}  // namespace baton::kvtransfer
