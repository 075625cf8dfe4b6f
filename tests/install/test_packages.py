"""The program as `cmake --install` and as a Debian package: whole, and without a need of the checkout."""

import shutil
import subprocess
import sys

import pytest
from install_helpers import BUILD, CPACK, ROOT, Elsewhere, can_hide, checked, column

QUICK = ["--set", "datasets.0.lengths=[1024]", "--set", "datasets.0.problems=layer17_kv1", "--set", "measure.max_time=0.1",
         "--set", "measure.warmup=0", "--only", "sale*", "--only", "dense*", "--quiet"]  # fmt: skip


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The .deb of cpack."""
    if not shutil.which("dpkg-deb") or not shutil.which("dpkg-shlibdeps"):
        pytest.skip("no dpkg-deb and dpkg-shlibdeps here: packages are not tested")
    folder = tmp_path_factory.mktemp("package")
    checked(CPACK, "--config", BUILD / "CPackConfig.cmake", "-G", "DEB", "-B", folder, cwd=BUILD)
    (deb,) = folder.glob("*.deb")
    return deb


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    checked("dpkg-deb", "-x", package, folder)
    return folder / "usr"


def field(package, name):
    return checked("dpkg-deb", "-f", package, name).strip()


def test_package_says_what_it_is_and_needs(package):
    version = checked(BUILD / "salebench", "--version").split()[1]
    assert field(package, "Package") == "salebench" and field(package, "Version") == version
    assert package.name.startswith(f"salebench_{version}_")
    assert "libc6" in field(package, "Depends") and "libhdf5" in field(package, "Depends")
    assert field(package, "Maintainer") == "SALEbench developers <salebench@example.org>"


@pytest.mark.parametrize("place", ["prefix", "unpacked"])
def test_quickstart_runs_without_the_checkout(place, tmp_path, request):
    top = request.getfixturevalue(place)
    elsewhere, hide = Elsewhere(tmp_path, top), can_hide()
    elsewhere.run("run", top / "share/salebench/configs/quickstart.yaml", *QUICK, hide=hide)
    methods = column(tmp_path / "runs/quickstart", "method")
    assert set(column(tmp_path / "runs/quickstart", "status")) == {"ok"} and {"sale", "dense"} == set(methods)
    assert "sale" in elsewhere.run("report", "runs/quickstart", hide=hide).stdout
    if not hide:
        pytest.skip("it ran, but with the checkout in reach: hiding it takes the right to mount")


@pytest.mark.parametrize("place", ["prefix", "unpacked"])
def test_nothing_names_the_folder_of_the_build(place, request):
    top = request.getfixturevalue(place)
    files = [path for path in top.rglob("*") if path.is_file()]
    assert [path for path in files if str(ROOT).encode() in path.read_bytes()] == []


@pytest.mark.parametrize("place", ["prefix", "unpacked"])
def test_all_parts_are_there(place, request):
    top = request.getfixturevalue(place)
    names = {str(path.relative_to(top)) for path in top.rglob("*")}
    assert {"share/doc/salebench/copyright", "share/salebench/python/load.py", "share/salebench/python/rank.py",
            "share/salebench/python/masks.py", "include/salebench/core/registry.h",
            "include/salebench/core/abi_id.h"} <= names
    assert [name for name in names if name.endswith("cmake/salebench/salebenchConfig.cmake")]
    for config in (ROOT / "configs").glob("*.yaml"):
        assert f"share/salebench/configs/{config.name}" in names


def test_installed_python_reads_a_run(installed, prefix):
    installed.run("run", prefix / "share/salebench/configs/quickstart.yaml", *QUICK)
    script = "import load, rank; print(rank.rank(load.load('runs/quickstart').cells, at_error=0.5).to_string())"
    process = subprocess.run([sys.executable, "-c", script], cwd=installed.folder, text=True, capture_output=True,
                             env=installed.env | {"PYTHONPATH": str(prefix / "share/salebench/python")})
    assert process.returncode == 0 and "sale" in process.stdout, process.stderr
