#pragma once

#include <cstdint>
#include <span>

namespace baton::kernels::cpu {

/// Backend::ChooseExperts for one row. `experts` and `shares` have the length that is chosen.
void ChooseExpertsOfRow(std::span<const float> logits, bool normalize, std::span<std::int32_t> experts,
                        std::span<float> shares);

}  // namespace baton::kernels::cpu
