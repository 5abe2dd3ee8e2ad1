#!/usr/bin/env python3
"""Checks what docs/ARCHITECTURE.md and the style rules ask for and a program can see.

  tests/tidy/tidy.py                         all checks on the tracked files
  tests/tidy/tidy.py --modules MODULES.TXT   also: includes agree with what CMake targets declare
  tests/tidy/tidy.py --self-test             each check finds its own planted fault

Every finding is one line: file:line: what; what to do. Exit status 1 where there is one.
"""
import argparse
import pathlib
import re
import subprocess
import sys

LINE_COLUMNS = 110
FILE_LINES = 600
FUNCTION_LINES = 60
TEST_FUNCTION_LINES = 100
TOP_LEVEL = {
    "CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "prefill", "decode", "kvtransfer", "router",
    "common", "kernels", "deploy", "tests", "perf", "docs", "engine", "simulator",
}
SOURCES = (".h", ".cc", ".cu", ".cuh")
# Headers that stay inside .cc files, and the headers that are allowed to hold them.
HEAVY = re.compile(r'#include <(boost/|yaml-cpp/|spdlog/|ucp/|ucs/|uct/|prometheus/|google/protobuf|CLI/|openssl/|cuda)')
HEAVY_ALLOWED = {"common/net/io.h", "common/net/task_scope.h"}
BANNED = [
    (re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep)\b|(?<![\w.:])sleep\s*\("),
     "sleeps; wait for the event itself, with a deadline"),
    (re.compile(r"\bstd::(thread|jthread)\b.*\.detach\(\)|\bdetached\b"), "detached work; give it an owner"),
    (re.compile(r"(?<![\w_])new\s+[A-Za-z_][\w:]*\s*[\({\[]"), "naked new; use std::make_unique or a container"),
    (re.compile(r"(?<![\w_=])\bdelete\s+(\[\]\s*)?[A-Za-z_]"), "naked delete; let an owner do it"),
    (re.compile(r"\bgetenv\s*\("), "reads the environment; configuration is the YAML file"),
    (re.compile(r"\b(TODO|FIXME|XXX)\b(?!\(#\d+\))"), "a TODO names an issue: TODO(#12)"),
    (re.compile(r"\babsl::(StrCat|StrFormat|StrSplit|Mutex|string_view|optional|Span)\b"),
     "Debian's Abseil has its own string types; use fmt and the standard's"),
    (re.compile(r"#define private public|\bfriend class \w*Test\b"), "tests go through the public header"),
]
# Where a banned word is the thing itself: the file, and why it may.
BANNED_ALLOWED = {
    "common/daemon/notify.cc": "the service manager's variables are part of its protocol",
    "tests/kernels/backends.cc": "a test program has no configuration, and a tool says which backends it is for",
}


def findings_in_text(path, text):
    """Line length, file length, function length, banned words and heavy headers of one source file."""
    out = []
    lines = text.split("\n")
    is_test = path.startswith("tests/") or path.startswith("perf/")
    if len(lines) - 1 > FILE_LINES:
        out.append(f"{path}:1: {len(lines) - 1} lines, limit {FILE_LINES}; look for the second concept")
    start = None
    for number, line in enumerate(lines, 1):
        if len(line) > LINE_COLUMNS:
            out.append(f"{path}:{number}: {len(line)} columns, limit {LINE_COLUMNS}")
        if line != line.rstrip():
            out.append(f"{path}:{number}: space at the end of the line")
        # Formatted code has a function's first line and its closing brace in column 0, namespaces aside.
        if start is None and re.match(r"^[A-Za-z_~].*\($|^[A-Za-z_~].*\(.*", line) and not re.match(
                r"^(namespace|#|using|struct|class|enum|extern|static_assert|BATON_)", line) and ";" not in line[-1:]:
            start = number
        elif start is not None and line == "}":
            length, limit = number - start + 1, TEST_FUNCTION_LINES if is_test else FUNCTION_LINES
            if length > limit:
                out.append(f"{path}:{start}: function of {length} lines, limit {limit}; take a helper out")
            start = None
        elif start is not None and (line.endswith(";") and not line.startswith(" ")):
            start = None
        code = re.sub(r'"(\\.|[^"\\])*"', '""', line)
        comment = code.find("//")
        text_only, code_only = code, code if comment < 0 else code[:comment]
        for pattern, why in BANNED:
            subject = text_only if "TODO" in pattern.pattern else code_only
            if pattern.search(subject) and path not in BANNED_ALLOWED and "tidy" not in path:
                out.append(f"{path}:{number}: {why}")
        if path.endswith(".h") and HEAVY.search(line) and path not in HEAVY_ALLOWED and not is_test:
            out.append(f"{path}:{number}: a heavy header in a header; it belongs into the .cc")
    if path.endswith(".h") and "#pragma once" not in text:
        out.append(f"{path}:1: no #pragma once")
    if text and not text.endswith("\n"):
        out.append(f"{path}:{len(lines)}: no newline at the end")
    return out


def module_of(path, modules):
    """The module whose folder holds `path`, the deepest one; None where there is none."""
    folder = str(pathlib.PurePosixPath(path).parent)
    while folder not in (".", ""):
        if folder in modules:
            return folder
        folder = str(pathlib.PurePosixPath(folder).parent)
    return None


def closure(name, modules):
    """Everything that `name` may include: what it declares, and what that declares."""
    seen, todo = {name}, [name]
    while todo:
        for dependency in modules[todo.pop()]:
            if dependency not in seen:
                seen.add(dependency)
                todo.append(dependency)
    return seen


def include_findings(files, modules):
    out = []
    for path, text in files.items():
        if path.split("/")[0] in ("tests", "perf") or path.endswith("main.cc"):
            continue
        user = module_of(path, modules)
        if user is None:
            out.append(f"{path}:1: in no module; list it in a module() of its folder")
            continue
        allowed = closure(user, modules)
        for number, line in enumerate(text.split("\n"), 1):
            match = re.match(r'#include "([^"]+)"', line)
            if not match:
                continue
            used = module_of(match.group(1), modules)
            if match.group(1).startswith(("tests/", "perf/")):
                out.append(f"{path}:{number}: includes {match.group(1)}; nothing includes tests or perf")
            elif used is not None and used not in allowed:
                out.append(f"{path}:{number}: module {user} includes {used} but does not declare it")
    return out


def read_modules(path):
    modules = {}
    for line in pathlib.Path(path).read_text().splitlines():
        name, _layer, *dependencies = line.split()
        modules[name] = dependencies
    return modules


def folder_findings(tracked):
    """Top level as fixed; a README in every folder that holds files of ours."""
    out = []
    for name in sorted({path.split("/")[0] for path in tracked}):
        if name not in TOP_LEVEL and not name.startswith("."):
            out.append(f"{name}:1: not one of the top-level names that the project has")
    folders = {str(pathlib.PurePosixPath(path).parent) for path in tracked}
    exempt = re.compile(r"^\.|^tests/(common|kernels|kvtransfer|engine|prefill|decode|router)\b|/corpus(/|$)|^common/cmake$")
    for folder in sorted(folders):
        if folder != "." and not exempt.search(folder) and f"{folder}/README.md" not in tracked:
            out.append(f"{folder}:1: no README.md; 10 to 40 lines: purpose, what to read first, what may depend on it")
    return out


def self_test():
    """Each check must find the fault planted for it, and nothing in clean text."""
    clean = "#pragma once\n\nint Half(int value) {\n  return value / 2;\n}\n"
    assert findings_in_text("common/base/x.h", clean) == []
    planted = {
        "columns": "#pragma once\n" + "x" * 111 + "\n",
        "lines, limit 600": "#pragma once\n" + "\n" * 601,
        "function of": "#pragma once\nint F(int a) {\n" + "  a;\n" * 60 + "}\n",
        "sleeps": "#pragma once\n  std::this_thread::sleep_for(x);\n",
        "naked new": "#pragma once\n  auto* a = new Thing(1);\n",
        "reads the environment": '#pragma once\n  getenv("HOME");\n',
        "heavy header": "#pragma once\n#include <boost/asio.hpp>\n",
        "a TODO names": "#pragma once\n  // TODO later\n",
        "no #pragma once": "int a;\n",
        "space at the end": "#pragma once\nint a; \n",
    }
    for expected, text in planted.items():
        found = findings_in_text("common/base/x.h", text)
        assert any(expected in line for line in found), (expected, found)
    modules = {"common/base": [], "common/net": ["common/base"], "router": ["common/net"]}
    files = {"common/base/a.cc": '#include "common/net/b.h"\n', "router/c.cc": '#include "common/base/a.h"\n'}
    assert include_findings(files, modules) == [
        "common/base/a.cc:1: module common/base includes common/net but does not declare it"]
    assert folder_findings({"extra/file.cc"})[0].startswith("extra:1: not one of")
    print("tidy: self-test passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", help="modules.txt of a build folder")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        return self_test()
    root = pathlib.Path(__file__).resolve().parents[2]
    listing = subprocess.run(["git", "-c", f"safe.directory={root}", "ls-files", "--cached", "--others",
                              "--exclude-standard"], cwd=root, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        tracked = {name for name in listing.stdout.splitlines() if (root / name).is_file()}
    else:  # an exported tree without git
        tracked = {str(p.relative_to(root)) for p in root.rglob("*")
                   if p.is_file() and p.relative_to(root).parts[0] not in ("build", ".git")}
    files = {name: (root / name).read_text(errors="replace") for name in sorted(tracked) if name.endswith(SOURCES)}
    findings = folder_findings(tracked)
    for name, text in files.items():
        findings += findings_in_text(name, text)
    if arguments.modules:
        findings += include_findings(files, read_modules(arguments.modules))
    for finding in findings:
        print(finding)
    print(f"tidy: {len(files)} sources, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
