#!/usr/bin/env python3
"""Which of the kernels that are ours have tensor-core instructions, by the machine code: for each architecture every matmul and
attention kernel of class bf16 must have them, and those of class f32 must not.

    tensor_cores.py OBJECT CUOBJDUMP     exit 77: cuobjdump cannot disassemble here (it needs nvdisasm), said aloud
"""
import os
import re
import subprocess
import sys

WITH = ("MatMulStreamKernel", "MatMulTileKernel", "TensorMath")
WITHOUT = ("MatMulF32Kernel", "PlainMath")


def count(listing):
    """{(architecture, function): number of HMMA instructions}"""
    counts, architecture, function = {}, "?", None
    for line in listing:
        if match := re.search(r"arch = (\S+)", line):
            architecture = match.group(1)
        elif match := re.search(r"Function : (\S+)", line):
            function = (architecture, match.group(1))
            counts[function] = 0
        elif " HMMA." in line and ".BF16" in line:
            counts[function] += 1
    return counts


def main(object_file, cuobjdump):
    if not os.path.exists(cuobjdump):
        print(f"SKIPPED: no cuobjdump to look at {object_file} with")
        return 77
    folder = os.path.dirname(cuobjdump)
    path = {**os.environ, "PATH": folder + os.pathsep + os.environ.get("PATH", "")}
    found = subprocess.run([cuobjdump, "-sass", object_file], env=path, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        print(f"SKIPPED: {found.stderr.strip()}")
        return 77
    counts = count(found.stdout.splitlines())
    architectures = sorted({architecture for architecture, _ in counts})
    wrong = []
    for (architecture, function), instructions in counts.items():
        wants = any(name in function for name in WITH)
        if wants or any(name in function for name in WITHOUT):
            print(f"{architecture} {instructions:4} {function}")
            if wants != (instructions > 0):
                wrong.append(f"{architecture} {function}: {instructions} HMMA instructions")
    for architecture in architectures:
        for name in WITH + WITHOUT:
            if not any(a == architecture and name in function for a, function in counts):
                wrong.append(f"{architecture}: no kernel {name}")
    print("\n".join(wrong) or f"as it should be, for {', '.join(architectures)}")
    return 1 if wrong or not architectures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
