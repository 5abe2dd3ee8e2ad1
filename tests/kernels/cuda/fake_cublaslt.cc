// Stands for libcublasLt: multiplies column-major matrices in the host's memory, f32 sums over bf16 or fp8.
#include <cublasLt.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "kernels/cuda/fp8.h"
#include "tests/kernels/cuda/fake_libraries.h"

namespace {

struct Matrix {
  cudaDataType_t type;
  std::uint64_t rows;
  std::uint64_t columns;
  std::int64_t stride;
};
struct Operation {
  cublasOperation_t a = CUBLAS_OP_N;
};
FakeCublasLt state;

float Element(const void* data, cudaDataType_t type, std::uint64_t index) {
  if (type == CUDA_R_8F_E4M3)
    return baton::kernels::cuda::FromFp8(static_cast<const std::uint8_t*>(data)[index]);
  const unsigned bits = static_cast<unsigned>(static_cast<const std::uint16_t*>(data)[index]) << 16;
  float value = 0;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
/// Its columns one after another, without gaps.
std::vector<float> Widened(const void* data, const Matrix& matrix) {
  std::vector<float> out;
  for (std::uint64_t column = 0; column < matrix.columns; ++column) {
    for (std::uint64_t row = 0; row < matrix.rows; ++row)
      out.push_back(Element(data, matrix.type, column * static_cast<std::uint64_t>(matrix.stride) + row));
  }
  return out;
}
Matrix* Of(cublasLtMatrixLayout_t layout) {
  return reinterpret_cast<Matrix*>(layout);
}

}  // namespace

extern "C" {

FakeCublasLt* fake_cublaslt_state() {
  return &state;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(&state);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t) {
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusString(cublasStatus_t) {
  return "an error of the stand-in";
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* out, cublasComputeType_t, cudaDataType_t) {
  ++state.alive;
  *out = reinterpret_cast<cublasLtMatmulDesc_t>(std::make_unique<Operation>().release());
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  --state.alive;
  const std::unique_ptr<Operation> ended(reinterpret_cast<Operation*>(operation));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute, const void* value,
                                              size_t size) {
  if (attribute != CUBLASLT_MATMUL_DESC_TRANSA || size != sizeof(cublasOperation_t))
    return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(&reinterpret_cast<Operation*>(operation)->a, value, size);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* out, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t stride) {
  ++state.alive;
  *out = reinterpret_cast<cublasLtMatrixLayout_t>(
      std::make_unique<Matrix>(Matrix{type, rows, columns, stride}).release());
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  --state.alive;
  const std::unique_ptr<Matrix> ended(Of(layout));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* out) {
  ++state.alive;
  *out = reinterpret_cast<cublasLtMatmulPreference_t>(std::make_unique<int>().release());
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  --state.alive;
  const std::unique_ptr<int> ended(reinterpret_cast<int*>(preference));
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void*, size_t size) {
  const size_t wanted = attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES ? 8 : 4;
  return size == wanted ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                                              cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
                                              cublasLtMatmulHeuristicResult_t* results, int* count) {
  ++state.asked;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  results[0].algo.data[0] = 77;
  *count = state.finds ? 1 : 0;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t operation, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void*,
                              cublasLtMatrixLayout_t, void* d, cublasLtMatrixLayout_t d_layout,
                              const cublasLtMatmulAlgo_t* algorithm, void*, size_t, cudaStream_t) {
  const Matrix& left = *Of(a_layout);
  const Matrix& right = *Of(b_layout);
  const Matrix& out = *Of(d_layout);
  const bool fp8 = left.type == CUDA_R_8F_E4M3;
  // As the library wants it of 8-bit floats.
  if (fp8 &&
      (left.rows % 16 != 0 || left.columns % 16 != 0 || left.stride % 16 != 0 || right.stride % 16 != 0))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool fits = reinterpret_cast<Operation*>(operation)->a == CUBLAS_OP_T &&
                    (fp8 || left.type == CUDA_R_16BF) && right.type == left.type && out.type == CUDA_R_32F &&
                    left.rows == right.rows && left.columns == out.rows && right.columns == out.columns &&
                    *static_cast<const float*>(alpha) == 1 && *static_cast<const float*>(beta) == 0 &&
                    algorithm->data[0] == 77;
  if (!fits) return CUBLAS_STATUS_INVALID_VALUE;
  ++state.products;
  state.products_fp8 += fp8 ? 1 : 0;
  const std::vector<float> weight = Widened(a, left);
  const std::vector<float> in = Widened(b, right);
  const std::uint64_t k = left.rows;
  for (std::uint64_t row = 0; row < out.rows; ++row) {
    for (std::uint64_t column = 0; column < out.columns; ++column) {
      float sum = 0;
      for (std::uint64_t i = 0; i < k; ++i) sum += weight[row * k + i] * in[column * k + i];
      static_cast<float*>(d)[column * static_cast<std::uint64_t>(out.stride) + row] = sum;
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
