// cuBLASLt behind fast_matmul.h. It is column-major: our rows are its columns, so that the weight,
// [output][K], is its A transposed, the activations, [row][K], its B, and [row][output] its D.
#include <cublasLt.h>

#include <algorithm>
#include <bit>
#include <tuple>
#include <utility>

#include <absl/container/flat_hash_map.h>

#include "common/base/dynamic_library.h"
#include "common/base/error.h"
#include "kernels/cuda/fast_matmul.h"

namespace baton::kernels::cuda {
namespace {

/// What NVIDIA advises for Hopper; less suffices before.
constexpr std::size_t kWorkspaceBytes = 32U << 20;
/// Shapes whose algorithm is remembered: a model has about 6 products, a step up to some hundred rows.
constexpr std::size_t kShapesMax = 8192;
/// Alignment beyond which no algorithm gains.
constexpr std::uint32_t kAlignmentMax = 256;

struct Functions {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtDestroy) destroy = nullptr;
  decltype(&cublasLtGetStatusString) status_string = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
};

absl::StatusOr<Functions> Load(const std::string& name) {
  BATON_ASSIGN_OR_RETURN(DynamicLibrary library, DynamicLibrary::Open(name));
  Functions out;
  library.Find("cublasLtCreate", out.create);
  library.Find("cublasLtDestroy", out.destroy);
  library.Find("cublasLtGetStatusString", out.status_string);
  library.Find("cublasLtMatmulDescCreate", out.desc_create);
  library.Find("cublasLtMatmulDescDestroy", out.desc_destroy);
  library.Find("cublasLtMatmulDescSetAttribute", out.desc_set);
  library.Find("cublasLtMatrixLayoutCreate", out.layout_create);
  library.Find("cublasLtMatrixLayoutDestroy", out.layout_destroy);
  library.Find("cublasLtMatmulPreferenceCreate", out.preference_create);
  library.Find("cublasLtMatmulPreferenceDestroy", out.preference_destroy);
  library.Find("cublasLtMatmulPreferenceSetAttribute", out.preference_set);
  library.Find("cublasLtMatmulAlgoGetHeuristic", out.heuristic);
  library.Find("cublasLtMatmul", out.matmul);
  BATON_RETURN_IF_ERROR(library.FoundAll());
  return out;
}

/// One of the library's objects.
template <typename Object>
using Owned = std::unique_ptr<Object, cublasStatus_t (*)(Object*)>;
using Layout = Owned<cublasLtMatrixLayoutOpaque_t>;

/// All that an algorithm depends on.
using Shape = std::tuple<Element, int, int, std::int64_t, std::int64_t, std::int64_t, std::uint32_t>;

struct Choice {
  Layout a;
  Layout b;
  Layout d;
  cublasLtMatmulAlgo_t algorithm;
};

std::uint32_t AlignmentOf(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address);
  return std::min(kAlignmentMax, std::uint32_t{1} << std::min(31, std::countr_zero(bits)));
}

class CublasLt final : public FastMatMul {
 public:
  explicit CublasLt(const Functions& functions) : f_(functions) {}
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;
  ~CublasLt() override {
    choices_.clear();
    operation_.reset();
    if (handle_ != nullptr) f_.destroy(handle_);
  }

  absl::Status Open(Device& device) {
    device.EnterThread();  // the handle is the current device's
    BATON_RETURN_IF_ERROR(StatusOf(f_.create(&handle_), "cannot begin"));
    cublasLtMatmulDesc_t operation = nullptr;
    BATON_RETURN_IF_ERROR(
        StatusOf(f_.desc_create(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F), "no operation"));
    operation_ = {operation, f_.desc_destroy};
    const cublasOperation_t transposed = CUBLAS_OP_T;
    BATON_RETURN_IF_ERROR(StatusOf(
        f_.desc_set(operation, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed), "no operation"));
    BATON_ASSIGN_OR_RETURN(workspace_, device.Allocate(kWorkspaceBytes));
    return absl::OkStatus();
  }

  absl::Status Run(Queue queue, const MatMulArguments& a, Element element) override {
    BATON_ASSIGN_OR_RETURN(const Choice* choice, Choose(a, element));
    const float one = 1;
    const float zero = 0;
    return StatusOf(
        f_.matmul(handle_, operation_.get(), &one, a.weight, choice->a.get(), a.in, choice->b.get(), &zero,
                  a.out, choice->d.get(), a.out, choice->d.get(), &choice->algorithm, workspace_.As<void>(),
                  workspace_.Bytes(), static_cast<cudaStream_t>(queue)),
        "cannot multiply");
  }

 private:
  absl::StatusOr<const Choice*> Choose(const MatMulArguments& a, Element element) {
    // K is the padded one on both sides: its gaps are zeros.
    const Shape shape{element,     a.rows,       a.outputs,         a.weight_stride,
                      a.in_stride, a.out_stride, AlignmentOf(a.out)};
    if (const auto known = choices_.find(shape); known != choices_.end()) return known->second.get();
    if (choices_.size() >= kShapesMax) choices_.clear();
    auto choice = std::make_unique<Choice>(
        Choice{{nullptr, f_.layout_destroy}, {nullptr, f_.layout_destroy}, {nullptr, f_.layout_destroy}, {}});
    const auto k = static_cast<std::uint64_t>(a.weight_stride);
    const auto rows = static_cast<std::uint64_t>(a.rows);
    const auto outputs = static_cast<std::uint64_t>(a.outputs);
    const cudaDataType_t type = element == Element::kFp8 ? CUDA_R_8F_E4M3 : CUDA_R_16BF;
    BATON_RETURN_IF_ERROR(LayOut(type, k, outputs, a.weight_stride, choice->a));
    BATON_RETURN_IF_ERROR(LayOut(type, k, rows, a.in_stride, choice->b));
    BATON_RETURN_IF_ERROR(LayOut(CUDA_R_32F, outputs, rows, a.out_stride, choice->d));
    BATON_RETURN_IF_ERROR(Ask(a, *choice));
    return choices_.emplace(shape, std::move(choice)).first->second.get();
  }

  absl::Status LayOut(cudaDataType_t type, std::uint64_t rows, std::uint64_t columns, std::int64_t stride,
                      Layout& out) {
    cublasLtMatrixLayout_t layout = nullptr;
    BATON_RETURN_IF_ERROR(StatusOf(f_.layout_create(&layout, type, rows, columns, stride), "no layout"));
    out.reset(layout);
    return absl::OkStatus();
  }

  /// The library's own first guess: it has measured its kernels.
  absl::Status Ask(const MatMulArguments& a, Choice& choice) {
    cublasLtMatmulPreference_t made = nullptr;
    BATON_RETURN_IF_ERROR(StatusOf(f_.preference_create(&made), "no preference"));
    const Owned<cublasLtMatmulPreferenceOpaque_t> preference(made, f_.preference_destroy);
    const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
      return StatusOf(f_.preference_set(made, attribute, &value, sizeof value), "no preference");
    };
    BATON_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_.Bytes()));
    BATON_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, AlignmentOf(a.weight)));
    BATON_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, AlignmentOf(a.in)));
    BATON_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, AlignmentOf(a.out)));
    BATON_RETURN_IF_ERROR(set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, AlignmentOf(a.out)));
    cublasLtMatmulHeuristicResult_t result{};
    int count = 0;
    BATON_RETURN_IF_ERROR(StatusOf(f_.heuristic(handle_, operation_.get(), choice.a.get(), choice.b.get(),
                                                choice.d.get(), choice.d.get(), made, 1, &result, &count),
                                   "finds no algorithm"));
    if (count == 0) return StatusOf(CUBLAS_STATUS_NOT_SUPPORTED, "finds no algorithm");
    BATON_RETURN_IF_ERROR(StatusOf(result.state, "finds no algorithm"));
    choice.algorithm = result.algo;
    return absl::OkStatus();
  }

  absl::Status StatusOf(cublasStatus_t code, const char* what) const {
    if (code == CUBLAS_STATUS_SUCCESS) return absl::OkStatus();
    return Error(kInternal, "cuBLASLt {}: {}", what, f_.status_string(code));
  }

  const Functions f_;
  cublasLtHandle_t handle_ = nullptr;
  Owned<cublasLtMatmulDescOpaque_t> operation_{nullptr, nullptr};
  Buffer workspace_;
  absl::flat_hash_map<Shape, std::unique_ptr<Choice>> choices_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<FastMatMul>> OpenCublasLt(Device& device, const std::string& library) {
  BATON_ASSIGN_OR_RETURN(
      const Functions functions,
      Load(library.empty() ? fmt::format("libcublasLt.so.{}", CUBLAS_VER_MAJOR) : library));
  auto out = std::make_unique<CublasLt>(functions);
  BATON_RETURN_IF_ERROR(out->Open(device));
  return out;
}

}  // namespace baton::kernels::cuda
