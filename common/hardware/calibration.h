#pragma once

#include <string>
#include <vector>

/// What measured steps taught about one {model, device, tensor-parallel degree}: plain data, kept in a
/// catalogue. calibrate.h makes it, calibrated_model.h predicts with it.
namespace baton::hardware {

/// seconds = smooth_max(layers x layer_us, flops / (efficiency x peak) + all-reduces) x knee, where the knee
/// multiplies by up to 1 + knee_loss between `knee_tokens` and twice as many.
struct PromptFit {
  double layer_us = 450;
  double efficiency = 0.63;
  double smooth = 3;
  double knee_tokens = 2048;
  double knee_loss = 0.5;
};

/// seconds = smooth_max(layers x layer_us, weights / (weight_efficiency x bandwidth))
///   + KV / (kv_efficiency x bandwidth) + layers x (sequence_us x B + crowd_us x max(0, B - crowd)).
struct TokenFit {
  double layer_us = 400;
  double weight_efficiency = 0.85;
  double smooth = 2;
  double kv_efficiency = 0.24;
  double sequence_us = 3;
  double crowd_us = 3;
  double crowd = 32;  // sequences
};

/// A measured point and what the formula lacks there.
struct ResidualPoint {
  double tokens = 0;     // of the prompts together; decoding: sequences
  double spread = 0;     // prompts; decoding: tokens of context of each sequence
  double log_ratio = 0;  // ln(measured / formula)
};

inline constexpr std::size_t kEngineWordsMax = 200;  // bytes
/// Points of a phase: a prediction takes the square of it.
inline constexpr std::size_t kCalibrationPointsMax = 200;

struct Calibration {
  std::string model;
  std::string device;
  int tensor_parallel = 8;
  std::string engine;  // whose steps were measured, in words
  PromptFit prompt;
  TokenFit token;
  std::vector<ResidualPoint> prompt_residual;
  std::vector<ResidualPoint> token_residual;
  double prompt_sigma = 0;  // relative; of points that were left out of the fit
  double token_sigma = 0;
};

}  // namespace baton::hardware
