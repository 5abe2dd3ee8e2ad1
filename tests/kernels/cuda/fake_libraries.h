#pragma once

/// What the stand-in for libcublasLt is told and has seen; `fake_cublaslt_state` of the library gives its
/// address.
struct FakeCublasLt {
  bool finds = true;  // an algorithm
  int asked = 0;      // for algorithms
  int products = 0;
  int products_fp8 = 0;  // of those
  int alive = 0;         // descriptors
};
