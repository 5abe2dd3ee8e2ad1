#include "common/hardware/catalogue_fields.h"

#include <cmath>
#include <set>
#include <utility>

#include <fmt/format.h>

namespace baton::hardware {
namespace {

using config::Section;
using Need = Section::Need;

constexpr std::size_t kEntriesMax = 1000;  // of each list
constexpr std::size_t kKnotsMax = 1000;    // of a table
constexpr std::string_view kNameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
constexpr double kGigabyte = 1e9;
constexpr double kGibibyte = 1024.0 * 1024 * 1024;

/// A number that the file gives in units of `unit`.
void Scaled(const Section& entry, std::string_view key, double unit, double high, double& out, Need need,
            double low = 0) {
  double value = out / unit;
  const bool given = entry.Has(key);
  entry.Number(key, value, low, high, need);
  if (given) out = value * unit;
}

/// The entries of a list, those of a too long one not at all.
std::vector<Section> Entries(const Section& parent, std::string_view key, std::size_t high) {
  std::vector<Section> entries = parent.SubList(key);
  if (entries.size() <= high) return entries;
  parent.Problem(key, fmt::format("has {} entries; at most {} are allowed", entries.size(), high));
  return {};
}

std::string NameOf(const Section& entry, std::set<std::string>& seen) {
  std::string name;
  entry.String("name", name, Need::kRequired);
  if (entry.Has("name") && name.empty()) entry.Problem("name", "is empty");
  if (name.size() > 100) entry.Problem("name", "has more than 100 characters");
  // Names stand in fleets ("prefill=2xdgx-a100/4@300w"), tables and files.
  if (name.find_first_not_of(kNameLetters) != std::string::npos) {
    entry.Problem("name", "has other characters than a-z, A-Z, 0-9, '.', '-' and '_'");
  }
  if (!name.empty() && !seen.insert(name).second) entry.Problem("name", "stands here for the second time");
  return name;
}

/// The entry that this one begins as, which `like` names.
template <typename T>
bool ReadLike(const Section& entry, const std::map<std::string, T, std::less<>>& known, T& out) {
  std::string like;
  entry.String("like", like);
  if (like.empty()) return false;
  const auto found = known.find(like);
  if (found == known.end()) {
    entry.Problem("like", "names no entry before this one");
    return true;  // its absent fields are not worth more messages
  }
  out = found->second;
  return true;
}

void ReadEfficiency(const Section& entry, Efficiency& out) {
  entry.Number("gemm_compute", out.gemm_compute, 0.001, 1);
  entry.Number("gemm_memory", out.gemm_memory, 0.001, 1);
  entry.Number("attention_compute", out.attention_compute, 0.001, 1);
  entry.Number("kv_memory", out.kv_memory, 0.001, 1);
  entry.Number("kernel_us", out.overhead_us, 0, 10'000);
  entry.Number("smooth", out.smooth, 1, 20);
}

void ReadDevice(const Section& entry, std::string name, Catalogue& catalogue) {
  Device device;
  const Need need = ReadLike(entry, catalogue.Devices(), device) ? Need::kOptional : Need::kRequired;
  device.name = std::move(name);
  Scaled(entry, "memory_gib", kGibibyte, 1e5, device.memory_bytes, need, 0.001);
  Scaled(entry, "bandwidth_gbs", kGigabyte, 1e7, device.bandwidth, need, 0.001);
  Scaled(entry, "bf16_tflops", 1e12, 1e7, device.bf16_flops, need, 1e-6);
  Scaled(entry, "fp8_tflops", 1e12, 1e7, device.fp8_flops, Need::kOptional);
  entry.Number("tdp_w", device.tdp_w, 1, 1e5, need);
  entry.Number("idle_w", device.idle_w, 0, 1e5, need);
  if (device.idle_w > device.tdp_w && device.tdp_w > 0) entry.Problem("idle_w", "is more than tdp_w");
  Scaled(entry, "nvlink_gbs", kGigabyte, 1e5, device.nvlink_bandwidth, Need::kOptional);
  Scaled(entry, "pcie_gbs", kGigabyte, 1e5, device.pcie_bandwidth, need, 0.001);
  Scaled(entry, "nic_gbs", kGigabyte, 1e5, device.nic_bandwidth, need, 0.0001);
  entry.Number("dollars_per_hour", device.dollars_per_hour, 0, 1e6);
  ReadEfficiency(entry.Sub("efficiency"), device.efficiency);
  const Section allreduce = entry.Sub("allreduce");
  allreduce.Number("alpha_us", device.allreduce_alpha_us, 0, 1e6);
  allreduce.Number("efficiency", device.allreduce_efficiency, 0.001, 1);
  const Section power = entry.Sub("power");
  power.Number("p0", device.power.p0, 0, 1);
  power.Number("per_bandwidth", device.power.per_bandwidth, 0, 10);
  power.Number("per_flops", device.power.per_flops, 0, 10);
  power.Choice("quality", device.power.quality, {"fitted", "anchored", "guess"});
  catalogue.Put(std::move(device));
}

void ReadMachine(const Section& entry, std::string name, Catalogue& catalogue) {
  Machine machine;
  const Need need = ReadLike(entry, catalogue.Machines(), machine) ? Need::kOptional : Need::kRequired;
  machine.name = std::move(name);
  entry.String("device", machine.device, need);
  if (entry.Has("device") && !catalogue.FindDevice(machine.device).ok()) {
    entry.Problem("device", "names no device of the catalogue");
  }
  entry.Integer("devices", machine.devices, 1, 1024, need);
  entry.Number("base_w", machine.base_w, 0, 1e6, need);
  entry.Number("rated_w", machine.rated_w, 0, 1e7);
  entry.Number("dollars_per_hour", machine.dollars_per_hour, 0, 1e7);
  entry.Number("gpu_cap_w", machine.gpu_cap_w, 0, 1e5);
  entry.Number("parked_w", machine.parked_w, 0, 1e6);
  entry.Number("wake_s", machine.wake_s, 0, 1e5);
  entry.Number("cost_weight", machine.cost_weight, 0, 1e6);
  entry.Number("power_weight", machine.power_weight, 0, 1e6);
  catalogue.Put(std::move(machine));
}

void ReadModel(const Section& entry, std::string name, Catalogue& catalogue) {
  ModelShape model;
  const Need need = ReadLike(entry, catalogue.Models(), model) ? Need::kOptional : Need::kRequired;
  model.name = std::move(name);
  entry.Integer("layers", model.layers, 1, 10'000, need);
  entry.Integer("hidden", model.hidden, 1, 1'000'000, need);
  entry.Integer("heads", model.heads, 1, 10'000, need);
  entry.Integer("kv_heads", model.kv_heads, 1, 10'000, need);
  entry.Integer("head_dim", model.head_dim, 1, 10'000, need);
  entry.Integer("intermediate", model.intermediate, 1, 10'000'000, need);
  entry.Integer("vocabulary", model.vocabulary, 1, 100'000'000, need);
  entry.Integer("mlp_matrices", model.mlp_matrices, 2, 3);
  entry.Boolean("tied_embeddings", model.tied_embeddings);
  entry.Integer("experts", model.experts, 0, 10'000);
  entry.Integer("experts_used", model.experts_used, 0, 10'000);
  entry.Number("weight_bytes", model.weight_bytes, 0.1, 8);
  entry.Number("kv_bytes", model.kv_bytes, 0.1, 8);
  Scaled(entry, "reference_weight_gb", kGigabyte, 1e6, model.reference_weight_bytes, Need::kOptional);
  if (model.kv_heads > model.heads) entry.Problem("kv_heads", "are more than heads");
  if (model.experts_used > model.experts) entry.Problem("experts_used", "are more than experts");
  if (model.experts > 0 && model.experts_used == 0) {
    entry.Problem("experts", "need experts_used, of each token");
  }
  catalogue.Put(std::move(model));
}

/// model and tensor_parallel of a table or a calibration.
void ReadKey(const Section& entry, const Catalogue& catalogue, std::string& model, int& tensor_parallel) {
  entry.String("model", model, Need::kRequired);
  if (!model.empty() && !catalogue.FindModel(model).ok()) {
    entry.Problem("model", "names no model of the catalogue");
  }
  entry.Integer("tensor_parallel", tensor_parallel, 1, 1024, Need::kRequired);
}

void ReadTable(const Section& entry, Catalogue& catalogue) {
  TimeTable table;
  ReadKey(entry, catalogue, table.model, table.tensor_parallel);
  entry.String("machine", table.machine, Need::kRequired);
  if (!table.machine.empty() && !catalogue.FindMachine(table.machine).ok()) {
    entry.Problem("machine", "names no machine of the catalogue");
  }
  for (const Section& knot : Entries(entry, "knots", kKnotsMax)) {
    double tokens = 0;
    double prompt_ms = 0;
    double token_ms = 0;
    knot.Number("tokens", tokens, 1, 1e12, Need::kRequired);
    knot.Number("prompt_ms", prompt_ms, 1e-9, 1e12, Need::kRequired);
    knot.Number("token_ms", token_ms, 1e-9, 1e12, Need::kRequired);
    if (!table.tokens.empty() && tokens <= table.tokens.back()) {
      knot.Problem("tokens", "do not rise from knot to knot");
      return;
    }
    table.tokens.push_back(tokens);
    table.prompt_ms.push_back(prompt_ms);
    table.token_ms.push_back(token_ms);
  }
  if (table.tokens.size() < 2) {
    entry.Problem("knots", "needs two knots at least");
    return;
  }
  catalogue.Put(std::move(table));
}

std::vector<ResidualPoint> ReadPoints(const Section& entry, std::string_view key) {
  std::vector<ResidualPoint> points;
  for (const Section& section : Entries(entry, key, kCalibrationPointsMax)) {
    ResidualPoint point;
    section.Number("tokens", point.tokens, 1, 1e12, Need::kRequired);
    section.Number("spread", point.spread, 1, 1e12, Need::kRequired);
    section.Number("log_ratio", point.log_ratio, -10, 10, Need::kRequired);
    points.push_back(point);
  }
  return points;
}

void ReadCalibration(const Section& entry, Catalogue& catalogue) {
  Calibration calibration;
  ReadKey(entry, catalogue, calibration.model, calibration.tensor_parallel);
  entry.String("device", calibration.device, Need::kRequired);
  if (!calibration.device.empty() && !catalogue.FindDevice(calibration.device).ok()) {
    entry.Problem("device", "names no device of the catalogue");
  }
  entry.String("engine", calibration.engine);
  if (calibration.engine.size() > kEngineWordsMax) {
    entry.Problem("engine", fmt::format("has more than {} characters", kEngineWordsMax));
  }
  const Section prompt = entry.Sub("prompt", Need::kRequired);
  prompt.Number("layer_us", calibration.prompt.layer_us, 1e-6, 1e9);
  prompt.Number("efficiency", calibration.prompt.efficiency, 1e-6, 1e3);
  prompt.Number("smooth", calibration.prompt.smooth, 1, kSmoothMax);
  prompt.Number("knee_tokens", calibration.prompt.knee_tokens, 1, 1e12);
  prompt.Number("knee_loss", calibration.prompt.knee_loss, 0, 1e3);
  prompt.Number("sigma", calibration.prompt_sigma, 0, 10);
  calibration.prompt_residual = ReadPoints(prompt, "points");
  const Section token = entry.Sub("token", Need::kRequired);
  token.Number("layer_us", calibration.token.layer_us, 1e-6, 1e9);
  token.Number("weight_efficiency", calibration.token.weight_efficiency, 1e-6, 1e3);
  token.Number("smooth", calibration.token.smooth, 1, kSmoothMax);
  token.Number("kv_efficiency", calibration.token.kv_efficiency, 1e-6, 1e3);
  token.Number("sequence_us", calibration.token.sequence_us, 0, 1e9);
  token.Number("crowd_us", calibration.token.crowd_us, 0, 1e9);
  token.Number("crowd", calibration.token.crowd, 1, 1e9);
  token.Number("sigma", calibration.token_sigma, 0, 10);
  calibration.token_residual = ReadPoints(token, "points");
  catalogue.Put(std::move(calibration));
}

/// As YAML between double quotes, on one line.
std::string Quoted(const std::string& words) {
  std::string out = "\"";
  for (const char c : words) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

void FormatPoints(const std::vector<ResidualPoint>& points, std::string& out) {
  out += points.empty() ? "      points: []\n" : "      points:\n";
  for (const ResidualPoint& point : points) {
    fmt::format_to(std::back_inserter(out), "        - {{tokens: {}, spread: {}, log_ratio: {}}}\n",
                   point.tokens, point.spread, point.log_ratio);
  }
}

}  // namespace

void ReadCatalogue(const config::Section& root, Catalogue& catalogue) {
  std::set<std::string> devices;
  std::set<std::string> machines;
  std::set<std::string> models;
  for (const Section& entry : Entries(root, "devices", kEntriesMax)) {
    ReadDevice(entry, NameOf(entry, devices), catalogue);
  }
  for (const Section& entry : Entries(root, "machines", kEntriesMax)) {
    ReadMachine(entry, NameOf(entry, machines), catalogue);
  }
  for (const Section& entry : Entries(root, "models", kEntriesMax)) {
    ReadModel(entry, NameOf(entry, models), catalogue);
  }
  for (const Section& entry : Entries(root, "tables", kEntriesMax)) ReadTable(entry, catalogue);
  for (const Section& entry : Entries(root, "calibrations", kEntriesMax)) ReadCalibration(entry, catalogue);
}

std::string FormatCalibrations(const std::vector<Calibration>& calibrations) {
  std::string out = calibrations.empty() ? "calibrations: []\n" : "calibrations:\n";
  for (const Calibration& entry : calibrations) {
    const PromptFit& prompt = entry.prompt;
    const TokenFit& token = entry.token;
    fmt::format_to(std::back_inserter(out),
                   "  - model: {}\n    device: {}\n    tensor_parallel: {}\n    engine: {}\n", entry.model,
                   entry.device, entry.tensor_parallel, Quoted(entry.engine));
    fmt::format_to(std::back_inserter(out),
                   "    prompt:\n      layer_us: {}\n      efficiency: {}\n      smooth: {}\n"
                   "      knee_tokens: {}\n      knee_loss: {}\n      sigma: {}\n",
                   prompt.layer_us, prompt.efficiency, prompt.smooth, prompt.knee_tokens, prompt.knee_loss,
                   entry.prompt_sigma);
    FormatPoints(entry.prompt_residual, out);
    fmt::format_to(std::back_inserter(out),
                   "    token:\n      layer_us: {}\n      weight_efficiency: {}\n      smooth: {}\n"
                   "      kv_efficiency: {}\n      sequence_us: {}\n      crowd_us: {}\n      crowd: {}\n"
                   "      sigma: {}\n",
                   token.layer_us, token.weight_efficiency, token.smooth, token.kv_efficiency,
                   token.sequence_us, token.crowd_us, token.crowd, entry.token_sigma);
    FormatPoints(entry.token_residual, out);
  }
  return out;
}

}  // namespace baton::hardware
