#pragma once

#include "common/config/reader.h"
#include "common/hardware/catalogue.h"

namespace baton::hardware {

/// Of the exponents `smooth` of a calibration.
inline constexpr double kSmoothMax = 20;

/// Reads the five lists of a catalogue file into `catalogue`. Problems are collected by the section's
/// document; an entry that has one may or may not be there: throw the catalogue away then.
void ReadCatalogue(const config::Section& root, Catalogue& catalogue);

/// A catalogue file that holds these calibrations and nothing else: what ReadCatalogue reads.
[[nodiscard]] std::string FormatCalibrations(const std::vector<Calibration>& calibrations);

}  // namespace baton::hardware
