#pragma once

// The grids of the kernels. `Launch<kernel>(queue, grid, threads, shared bytes, arguments)` is a word of
// device code.

/// A block a row, pieces of its columns.
inline Grid RowGrid(std::int64_t rows, std::int64_t columns) {
  return {.x = static_cast<unsigned>(rows),
          .y = static_cast<unsigned>((columns + kRowPiece - 1) / kRowPiece)};
}
inline unsigned Parts(std::int64_t whole, std::int64_t part) {
  return static_cast<unsigned>((whole + part - 1) / part);
}

inline void LaunchEmbed(Queue queue, const EmbedArguments& a) {
  Launch<EmbedKernel>(queue, RowGrid(a.out.rows, a.out.columns), kRowThreads, 0, a);
}
inline void LaunchRmsNorm(Queue queue, const NormArguments& a) {
  Launch<RmsNormKernel>(queue, {.x = static_cast<unsigned>(a.in.rows)}, kRowThreads, 4 * kRowThreads / 32, a);
}
inline void LaunchRmsNormHeads(Queue queue, const NormHeadsArguments& a) {
  const unsigned blocks = Parts(a.x.rows * (a.x.columns / a.head_dim), kRowThreads / 32);
  Launch<RmsNormHeadsKernel>(queue, {.x = blocks}, kRowThreads, 0, a);
}
inline void LaunchRope(Queue queue, const RopeArguments& a) {
  Launch<RopeKernel>(queue, {.x = static_cast<unsigned>(a.x.rows)}, kRowThreads, 0, a);
}
template <auto kernel>
void LaunchPair(Queue queue, const PairArguments& a) {
  Launch<kernel>(queue, RowGrid(a.x.rows, a.x.columns), kRowThreads, 0, a);
}
inline void LaunchGatherRows(Queue queue, const PlaceArguments& a) {
  Launch<GatherRowsKernel>(queue, RowGrid(a.count, a.target.columns), kRowThreads, 0, a);
}
inline void LaunchAddScaledRows(Queue queue, const PlaceArguments& a) {
  Launch<AddScaledRowsKernel>(queue, RowGrid(a.distinct ? a.count : 1, a.target.columns), kRowThreads, 0, a);
}
inline void LaunchChooseExperts(Queue queue, const ChooseArguments& a) {
  Launch<ChooseExpertsKernel>(queue, {.x = Parts(a.logits.rows, kRowThreads)}, kRowThreads, 0, a);
}
inline void LaunchWriteKv(Queue queue, const WriteKvArguments& a) {
  Launch<WriteKvKernel>(queue, {.x = static_cast<unsigned>(a.count)}, kRowThreads, 0, a);
}
inline void LaunchRopeWriteKv(Queue queue, const RopeWriteArguments& a) {
  Launch<RopeWriteKvKernel>(queue, {.x = static_cast<unsigned>(a.kv.count)}, kRowThreads, 4 * a.kv.head_dim,
                            a);
}
inline void LaunchSumRanks(Queue queue, const SumRanksArguments& a) {
  Launch<SumRanksKernel>(queue, RowGrid(a.out.rows, a.out.columns), kRowThreads, 0, a);
}
inline void LaunchHighest(Queue queue, const HighestArguments& a) {
  Launch<HighestKernel>(queue, {.x = static_cast<unsigned>(a.in.rows)}, kRowThreads,
                        static_cast<int>(sizeof(Ranked)) * (kRowThreads + kRowThreads / 16), a);
}
inline void LaunchDraw(Queue queue, const DrawArguments& a) {
  Launch<DrawKernel>(queue, {.x = static_cast<unsigned>(a.in.rows)}, kRowThreads,
                     8 * kRowThreads + 3 * 4 * kRowThreads / 32, a);
}
inline void LaunchPackRows(Queue queue, const PackRowsArguments& a) {
  Launch<PackRowsKernel>(queue, RowGrid(a.in.rows, a.padded_k / 2), kRowThreads, 0, a);
}

inline void LaunchPackRowsFp8(Queue queue, const PackRowsArguments& a) {
  Launch<PackRowsFp8Kernel>(queue, {.x = static_cast<unsigned>(a.in.rows)}, kRowThreads, 4 * kRowThreads / 32,
                            a);
}
inline void LaunchScale(Queue queue, const ScaleArguments& a) {
  Launch<ScaleKernel>(queue, RowGrid(a.x.rows, a.x.columns), kRowThreads, 0, a);
}

template <int row_blocks>
void LaunchStream(Queue queue, const MatMulArguments& a) {
  Launch<MatMulStreamKernel<row_blocks>>(queue, {.x = Parts(a.outputs, kStreamOutputs)}, 32 * a.segments,
                                         4 * a.segments * 8 * row_blocks * kStreamPitch, a);
}
template <typename Shape>
void LaunchTile(Queue queue, const MatMulArguments& a) {
  const Grid grid{.x = Parts(a.rows, Shape::kRows),
                  .y = Parts(a.outputs, Shape::kOutputs),
                  .z = static_cast<unsigned>(a.splits)};
  static_assert(Shape::kSharedBytes <= kBlockSharedBytes);
  Launch<MatMulTileKernel<Shape>>(queue, grid, Shape::kThreads, Shape::kSharedBytes, a);
  if (a.splits > 1) Launch<JoinSplitsKernel>(queue, RowGrid(a.rows, a.outputs), kRowThreads, 0, a);
}
inline void LaunchMatMul(Queue queue, MatMulKernel kernel, const MatMulArguments& a) {
  switch (kernel) {
    case MatMulKernel::kStream8:
      return LaunchStream<1>(queue, a);
    case MatMulKernel::kStream16:
      return LaunchStream<2>(queue, a);
    case MatMulKernel::kStream32:
      return LaunchStream<4>(queue, a);
    case MatMulKernel::kSmallTile:
      return LaunchTile<SmallTile>(queue, a);
    case MatMulKernel::kLargeTile:
      return LaunchTile<LargeTile>(queue, a);
  }
}
inline void LaunchMatMulF32(Queue queue, const MatMulArguments& a) {
  Launch<MatMulF32Kernel>(queue, {.x = Parts(a.rows, kF32Tile), .y = Parts(a.outputs, kF32Tile)}, 256,
                          kF32SharedBytes, a);
}

template <typename Math>
void LaunchAttend(Queue queue, const AttentionArguments& a) {
  const Grid grid{.x = static_cast<unsigned>(a.item_count), .y = static_cast<unsigned>(a.kv_heads)};
  static_assert(AttentionSharedBytes<Math>() <= kBlockSharedBytes);
  Launch<AttendKernel<Math>>(queue, grid, kAttentionThreads, AttentionSharedBytes<Math>(), a);
}
inline void LaunchAttention(Queue queue, AttentionKernel kernel, const AttentionArguments& a) {
  const bool few = kernel == AttentionKernel::kFewRows;
  if (a.head_dim <= 64)
    return few ? LaunchAttend<TensorMath<1, 64>>(queue, a) : LaunchAttend<TensorMath<4, 64>>(queue, a);
  if (a.head_dim <= 128)
    return few ? LaunchAttend<TensorMath<1, 128>>(queue, a) : LaunchAttend<TensorMath<4, 128>>(queue, a);
  few ? LaunchAttend<TensorMath<1, 256>>(queue, a) : LaunchAttend<TensorMath<2, 256>>(queue, a);
}
inline void LaunchCombine(Queue queue, const AttentionArguments& a) {
  const Grid grid{.x = static_cast<unsigned>(a.combine_count), .y = static_cast<unsigned>(a.kv_heads)};
  Launch<CombineKernel>(queue, grid, kAttentionThreads, 0, a);
}
/// 32 blocks have 128 KiB on their way: more than a bus of 64 GB/s needs in 2 us, and a small part of the
/// device, whose rest computes.
inline void LaunchStage(Queue queue, const StageArguments& a) {
  Launch<StageKernel>(queue, {.x = static_cast<unsigned>(a.count < 32 ? a.count : 32)}, kRowThreads, 0, a);
}

constexpr Launches kLaunches = {.embed = LaunchEmbed,
                                .rms_norm = LaunchRmsNorm,
                                .rms_norm_heads = LaunchRmsNormHeads,
                                .rope = LaunchRope,
                                .swiglu = LaunchPair<SwiGluKernel>,
                                .add = LaunchPair<AddKernel>,
                                .gate_rows = LaunchPair<GateRowsKernel>,
                                .gather_rows = LaunchGatherRows,
                                .add_scaled_rows = LaunchAddScaledRows,
                                .choose_experts = LaunchChooseExperts,
                                .write_kv = LaunchWriteKv,
                                .rope_write_kv = LaunchRopeWriteKv,
                                .copy_rows = LaunchPair<CopyRowsKernel>,
                                .sum_ranks = LaunchSumRanks,
                                .highest = LaunchHighest,
                                .draw = LaunchDraw,
                                .pack_rows = LaunchPackRows,
                                .pack_rows_fp8 = LaunchPackRowsFp8,
                                .scale = LaunchScale,
                                .matmul = LaunchMatMul,
                                .matmul_f32 = LaunchMatMulF32,
                                .attend = LaunchAttention,
                                .attend_f32 = LaunchAttend<PlainMath>,
                                .combine = LaunchCombine,
                                .stage = LaunchStage};
