#pragma once

#include <span>
#include <vector>

#include "common/base/device_copier.h"
#include "kernels/cuda/arguments.h"

namespace baton::kernels::cuda {

/// What one block of the copying kernel takes: cut so that the blocks of a launch share the work evenly.
inline constexpr std::size_t kPieceBytes = 16U << 10;

/// The pieces as the kernel takes them: those that go on where the one before ends are one, and each is cut
/// to kPieceBytes. Pure.
void CutPieces(std::span<const DeviceCopier::Piece> pieces, std::vector<PieceArgument>& out);

}  // namespace baton::kernels::cuda
