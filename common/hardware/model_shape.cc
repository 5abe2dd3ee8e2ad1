#include <cmath>

#include "common/hardware/catalogue.h"

namespace baton::hardware {
namespace {

double AttentionParameters(const ModelShape& model) {
  const double query = static_cast<double>(model.heads) * model.head_dim;
  const double kv = static_cast<double>(model.kv_heads) * model.head_dim;
  return model.hidden * (2 * query + 2 * kv);
}

double ExpertParameters(const ModelShape& model) {
  return static_cast<double>(model.mlp_matrices) * model.hidden * model.intermediate;
}

double WithExperts(const ModelShape& model, int experts) {
  const double router = model.experts > 0 ? static_cast<double>(model.hidden) * model.experts : 0;
  const double layer = AttentionParameters(model) + experts * ExpertParameters(model) + router;
  const double embeddings =
      static_cast<double>(model.vocabulary) * model.hidden * (model.tied_embeddings ? 1 : 2);
  return model.layers * layer + embeddings;
}

}  // namespace

double ModelShape::Parameters() const {
  return WithExperts(*this, experts > 0 ? experts : 1);
}

double ModelShape::ActiveParameters() const {
  return WithExperts(*this, experts > 0 ? experts_used : 1);
}

double ModelShape::KvBytesPerToken() const {
  return 2.0 * layers * kv_heads * head_dim * kv_bytes;
}

double ModelShape::WeightBytes() const {
  return Parameters() * weight_bytes;
}

double ModelShape::ReferenceKvBytesPerToken() const {
  return 2.0 * layers * hidden * 2;
}

}  // namespace baton::hardware
