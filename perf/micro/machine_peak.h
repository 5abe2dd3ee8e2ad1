#pragma once

/// What this machine can do at most, measured, so that a figure has its limit beside it from the same
/// minutes.
namespace baton::perf {

/// Multiply-adds of f32 and of bf16 into f32, in 10^9 floating-point operations a second, on `threads`
/// threads at once. Where the processor has no bf16 instruction, the second is the first.
[[nodiscard]] double PeakF32(int threads);
[[nodiscard]] double PeakBf16(int threads);
/// Multiply-adds of bytes into 32 bits likewise; that of bf16 where the processor has no such instruction.
[[nodiscard]] double PeakInt8(int threads);
/// The same of the tile unit (AMX). Only where the backend's instruction sets include amx, and after they
/// have been asked for: the system must have given its permission.
[[nodiscard]] double PeakTilesBf16(int threads);
[[nodiscard]] double PeakTilesInt8(int threads);
/// 10^9 bytes a second that `threads` threads read together from memory larger than the caches.
[[nodiscard]] double ReadBandwidth(int threads);

}  // namespace baton::perf
