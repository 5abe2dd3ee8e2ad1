#pragma once

#include "common/cluster/view.h"

/// Snapshots for policy tests, written down rather than played.
namespace baton::router {

inline cluster::WorkerSnapshot Worker(unsigned id, cluster::Phase phase) {
  cluster::WorkerSnapshot worker;
  worker.about.id = WorkerId{id};
  worker.about.phase = phase;
  worker.about.model = "m";
  worker.about.numerics_class = "cpu-f32";
  worker.about.kv_blocks = 64;
  worker.about.context_tokens = 512;
  worker.ready = true;
  worker.kv_blocks_free = 64;
  return worker;
}

/// Prefill workers 1.. and decode workers 101.., every link ready.
inline cluster::ClusterSnapshot Cluster(unsigned prefill, unsigned decode) {
  cluster::ClusterSnapshot snapshot;
  for (unsigned p = 1; p <= prefill; ++p) {
    snapshot.workers.push_back(Worker(p, cluster::Phase::kPrefill));
    for (unsigned d = 101; d <= 100 + decode; ++d) {
      snapshot.workers.back().links.push_back({WorkerId{d}, true, "tcp", 1e9});
    }
  }
  for (unsigned d = 101; d <= 100 + decode; ++d) {
    snapshot.workers.push_back(Worker(d, cluster::Phase::kDecode));
    for (unsigned p = 1; p <= prefill; ++p)
      snapshot.workers.back().links.push_back({WorkerId{p}, true, "tcp", 1e9});
  }
  return snapshot;
}

}  // namespace baton::router
