#pragma once

// Part of isa_amx.cc: several panels times several blocks of rows, segment by segment. Of one segment all
// blocks of a step's rows fit the second-level cache, and a panel's part the first; whole rows of a wide
// matrix would come from the third for each panel. Sums wait in memory for the join, three levels of the tree
// for each pair of a panel and a block.

inline int Least(int a, int b) {
  return a < b ? a : b;
}

/// Takes the sums of segment `index`, which lie in `sums`, or in level 0 of the tree where the index is even.
inline void JoinSegment(int index, const float* sums, float* tree, const MatMulTile& tile) {
  if ((index & 1) == 0) return;  // waits as it is
  for (int row = 0; row < tile.rows; ++row) {
    for (int column = 0; column < tile.columns; column += 16) {
      const int at = row * kPanelColumns + column;
      float* level = tree + at;
      Vec sum[1] = {Vec::Load(level) + Vec::Load(sums + at)};
      if ((index & 2) == 0) {
        sum[0].Store(level + kBlockSums);
        continue;
      }
      sum[0] = Vec::Load(level + kBlockSums) + sum[0];
      if ((index & 4) == 0) {
        sum[0].Store(level + 2 * kBlockSums);
        continue;
      }
      sum[0] = Vec::Load(level + 2 * kBlockSums) + sum[0];
      StoreBlock<1, 1>(sum, tile, row, 1, column);
    }
  }
}

/// One segment of one panel times all blocks. `next`: what is read then.
inline void MultiplyPanelSegment(const MatMulPanels& task, int p, int segment, long block_offset,
                                 const char* next) {
  alignas(64) float odd[kBlockSums];
  const long first_step = task.bounds[segment] / Bf16Tiles::kStepElements;
  const long steps = task.bounds[segment + 1] / Bf16Tiles::kStepElements - first_step;
  const int blocks = (task.rows + task.block_rows - 1) / task.block_rows;
  const char* panel = reinterpret_cast<const char*>(task.panels) + p * task.panel_bytes + first_step * 128;
  const long ahead = (kChunkSteps * 128 / 64 + blocks - 1) / blocks * 64;  // of `next`, with each chunk
  NextChunks chunks{next, next != nullptr ? ahead : 0};
  for (int b = 0; b < blocks; ++b) {
    const char* rows = reinterpret_cast<const char*>(task.activations) + b * task.block_bytes + block_offset;
    float* tree = task.scratch + (p * blocks + b) * 3 * kBlockSums;
    float* sums = (segment & 1) == 0 ? tree : odd;
    const int first_row = b * task.block_rows;
    const MatMulTile tile{.out = task.out + first_row * task.out_stride + p * kPanelColumns,
                          .out_stride = task.out_stride,
                          .rows = Least(task.rows - first_row, task.block_rows),
                          .columns = Least(task.columns - p * kPanelColumns, kPanelColumns)};
    if (tile.rows <= kAmxRows / 2) {
      SumSegment<Bf16Tiles, 1>(rows, panel, steps, chunks, reinterpret_cast<unsigned*>(sums));
    } else {
      SumSegment<Bf16Tiles, 2>(rows, panel, steps, chunks, reinterpret_cast<unsigned*>(sums));
    }
    JoinSegment(segment, sums, tree, tile);
  }
}

void MatMulBf16AmxPanels(const MatMulPanels& task) {
  UseTiles();
  const auto* panels = reinterpret_cast<const char*>(task.panels);
  const auto place = [&](int segment) { return long{task.bounds[segment]} / Bf16Tiles::kStepElements * 128; };
  long block_offset = 0;
  for (int segment = 0; segment < 8; ++segment) {
    for (int p = 0; p < task.panel_count; ++p) {
      const char* next = p + 1 < task.panel_count ? panels + (p + 1) * task.panel_bytes + place(segment)
                         : segment < 7            ? panels + place(segment + 1)
                                                  : reinterpret_cast<const char*>(task.next);
      MultiplyPanelSegment(task, p, segment, block_offset, next);
    }
    block_offset +=
        ChunksOf((task.bounds[segment + 1] - task.bounds[segment]) / Bf16Tiles::kStepElements) * kChunkBytes;
  }
}
