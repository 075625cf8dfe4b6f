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
SOURCES = [path for folder in (*FOLDERS, "tests") for path in sorted((ROOT / folder).rglob("*"))
           if path.suffix in (".h", ".cpp", ".cu")]


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


def test_kernels_know_no_frameworks():
    for path in SOURCES:
        if path.relative_to(ROOT).parts[0] == "kernels" and path.name != "simd.cpp" and "bench" not in path.parts:
            for name in includes(path):
                assert not name.startswith(("fmt/", "spdlog/", "yaml-cpp/", "hdf5", "CLI/")), f"{path.name}: {name}"


def test_files_are_short():
    for path in [*SOURCES, *sorted(ROOT.glob("*/*.py"))]:
        assert len(path.read_text().splitlines()) <= 320, path.relative_to(ROOT)


def test_formatting():
    clang_format = shutil.which("clang-format-14") or shutil.which("clang-format")
    if not clang_format:
        pytest.skip("clang-format is not installed")
    result = subprocess.run([clang_format, "--dry-run", "-Werror", *map(str, SOURCES)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[:2000]
