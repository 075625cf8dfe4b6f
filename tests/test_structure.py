"""The rules of the tree: who may include whom, how long files are, formatting."""

import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("core", "kernels", "methods", "datasets", "results", "harness")
MAY_INCLUDE = {
    "core": {"core"},
    "kernels": {"core", "kernels"},
    "methods": {"core", "datasets", "kernels", "methods"},
    "datasets": {"core", "datasets"},
    "results": {"core", "results"},
    "harness": set(FOLDERS) - {"methods"},
}
# Inside a folder: each may include those before it. Parts of an interface may include its folder and be included by it.
ORDERS = {
    "harness": ["support", "plan", "cell", "run", "calibrate", "show", "page", "verbs"],
    "kernels/cuda": ["device", "hopper", "attention", "select", "dense", "check"],
    "methods": ["shared", "sale"],
    "datasets": ["files", "", "import"],
}
SOURCES = [path for folder in (*FOLDERS, "tests") for path in sorted((ROOT / folder).rglob("*"))
           if path.suffix in (".h", ".cpp", ".cu", ".cuh")]


def includes(path):
    return re.findall(r'#include ["<]([^">]+)[">]', path.read_text())


@pytest.mark.parametrize("folder", FOLDERS)
def test_includes_follow_the_layers(folder):
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] != folder:
            continue
        for name in includes(path):
            top = name.split("/")[0]
            if top in FOLDERS:
                assert top in MAY_INCLUDE[folder], f"{path.relative_to(ROOT)} includes {name}"


@pytest.mark.parametrize("folder", ORDERS)
def test_includes_follow_the_order_of_the_parts(folder):
    order, depth = ORDERS[folder], len(folder.split("/"))
    def part(name):
        parts = name.split("/")
        return parts[depth] if len(parts) > depth + 1 else ""
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(folder + "/") or part(name) not in order:
            continue
        for other in includes(path):
            if other.startswith(folder + "/") and part(other) in order:
                assert order.index(part(other)) <= order.index(part(name)), f"{name} includes {other}"


def test_kernels_know_no_frameworks():
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] == "kernels" and path.name != "simd.cpp" and "bench" not in path.parts:
            for name in includes(path):
                assert not name.startswith(("fmt/", "spdlog/", "yaml-cpp/", "hdf5", "CLI/")), f"{path.name}: {name}"


def test_files_are_short():
    python = [path for folder in ("datasets", "results", "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    for path in [*SOURCES, *python]:
        assert len(path.read_text().splitlines()) <= 320, path.relative_to(ROOT)


def test_formatting():
    clang_format = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not clang_format:
        pytest.skip("clang-format is not installed")
    result = subprocess.run([clang_format, "--dry-run", "-Werror", *map(str, SOURCES)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:2000]
