#include "kernels/cuda/device_pieces.h"

#include <algorithm>

namespace baton::kernels::cuda {

void CutPieces(std::span<const DeviceCopier::Piece> pieces, std::vector<PieceArgument>& out) {
  out.clear();
  for (std::size_t i = 0; i < pieces.size();) {
    DeviceCopier::Piece whole = pieces[i++];
    while (i < pieces.size() && pieces[i].address == whole.address + whole.bytes &&
           pieces[i].at == whole.at + whole.bytes) {
      whole.bytes += pieces[i++].bytes;
    }
    for (std::size_t done = 0; done < whole.bytes; done += kPieceBytes) {
      out.push_back({.address = whole.address + done,
                     .offset = static_cast<std::int64_t>(whole.at + done),
                     .bytes = static_cast<std::int64_t>(std::min(kPieceBytes, whole.bytes - done))});
    }
  }
}

}  // namespace baton::kernels::cuda
