#include "common/grammar/grammar.h"

#include <algorithm>
#include <utility>

namespace baton::grammar {
namespace {

/// The least height of every node, by relaxing until nothing changes; each round settles a node or ends.
void SetHeights(std::vector<Node>& nodes) {
  for (Node& node : nodes) node.height = node.final ? 0 : kNoEnd;
  // Users of a node: who may get lower when it does.
  std::vector<std::vector<NodeId>> users(nodes.size());
  std::vector<NodeId> work;
  for (NodeId id = 0; id < nodes.size(); ++id) {
    for (const Edge& edge : nodes[id].edges) {
      users[edge.next].push_back(id);
      if (edge.kind == Edge::Kind::kCall) users[edge.rule].push_back(id);
    }
    if (nodes[id].final) work.push_back(id);
  }
  while (!work.empty()) {
    const NodeId lowered = work.back();
    work.pop_back();
    for (const NodeId user : users[lowered]) {
      Node& node = nodes[user];
      std::int32_t best = node.height;
      for (const Edge& edge : node.edges) {
        std::int32_t height = nodes[edge.next].height;
        if (edge.kind == Edge::Kind::kCall) height = std::max(height, nodes[edge.rule].height + 1);
        best = std::min(best, height);
      }
      if (best >= node.height) continue;
      node.height = best;
      work.push_back(user);
    }
  }
}

}  // namespace

Grammar::Grammar(std::vector<Node> nodes, NodeId root, bool free_keys)
    : nodes_(std::move(nodes)), root_(root), free_keys_(free_keys) {
  SetHeights(nodes_);
}

bool Grammar::LeftRecursive() const {
  enum class Mark : std::uint8_t { kNew, kOpen, kDone };
  std::vector<Mark> marks(nodes_.size(), Mark::kNew);
  struct Visit {
    NodeId node;
    std::size_t edge;
  };
  std::vector<Visit> stack;
  for (NodeId start = 0; start < nodes_.size(); ++start) {
    if (marks[start] != Mark::kNew) continue;
    marks[start] = Mark::kOpen;
    stack.push_back({start, 0});
    while (!stack.empty()) {
      Visit& visit = stack.back();
      if (visit.edge == nodes_[visit.node].edges.size()) {
        marks[visit.node] = Mark::kDone;
        stack.pop_back();
        continue;
      }
      const Edge& edge = nodes_[visit.node].edges[visit.edge++];
      if (edge.kind == Edge::Kind::kBytes) continue;
      // A rule takes a byte at least, hence nothing of a call's continuation comes before one.
      const NodeId target = edge.kind == Edge::Kind::kCall ? edge.rule : edge.next;
      if (marks[target] == Mark::kOpen) return true;
      if (marks[target] == Mark::kDone) continue;
      marks[target] = Mark::kOpen;
      stack.push_back({target, 0});
    }
  }
  return false;
}

}  // namespace baton::grammar
