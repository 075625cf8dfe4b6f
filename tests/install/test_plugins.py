"""Methods from shared libraries: the project of docs/plugins.md, built against the installed program and run."""

import json
import os
import shlex
import shutil
import struct
from pathlib import Path

import pytest
from install_helpers import BUILD, CMAKE, Elsewhere, checked, code_block, column

# Beside the page's project: the method of the other page, and libraries that a program must refuse.
MORE = """
salebench_add_plugin(mean_keys mean_keys.cpp)
salebench_add_plugin(clash clash.cpp)
salebench_add_plugin(idle all_headers.cpp)
add_library(plain MODULE crashing.cpp)
salebench_add_plugin(incomplete incomplete.cpp)
salebench_add_plugin(crashing crashing.cpp)
"""
INCOMPLETE = "void nowhere();\n[[gnu::constructor]] static void begin() { nowhere(); }\n"
CRASHING = "[[gnu::constructor]] static void begin() { __builtin_trap(); }\n"


def names(file, *options):
    """The functions that a library or program defines for others."""
    lines = checked("nm", "--defined-only", "--extern-only", *options, file).splitlines()
    return {line.split()[2] for line in lines if len(line.split()) == 3 and line.split()[1] == "T"}


class Project:
    """The page's project with its build; `mine` is its library."""

    def __init__(self, folder, prefix):
        self.folder, self.prefix = folder, prefix
        method = code_block("docs/plugins.md", "cpp")
        (folder / "CMakeLists.txt").write_text(code_block("docs/plugins.md", "cmake") + MORE)
        (folder / "every_other.cpp").write_text(method)
        (folder / "mean_keys.cpp").write_text(code_block("docs/adding_a_method.md", "cpp"))
        (folder / "clash.cpp").write_text(method.replace('"every_other"', '"sale"'))
        headers = sorted(path.relative_to(prefix / "include/salebench") for path in prefix.rglob("*.h"))
        (folder / "all_headers.cpp").write_text("".join(f'#include "{header}"\n' for header in headers))
        (folder / "crashing.cpp").write_text(CRASHING)
        (folder / "incomplete.cpp").write_text(INCOMPLETE)
        self.build()

    def build(self, *options, into="build", target="all"):
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        checked(CMAKE, "-S", self.folder, "-B", self.folder / into, "-G", "Ninja", f"-DCMAKE_PREFIX_PATH={self.prefix}",
                f"-DCMAKE_CXX_COMPILER={os.environ['SALEBENCH_CXX']}", *launcher, *options)
        checked(CMAKE, "--build", self.folder / into, "--target", target)

    def built(self, name="mine", into="build"):
        return self.folder / into / f"lib{name}.so"


@pytest.fixture(scope="module")
def project(prefix, tmp_path_factory):
    return Project(tmp_path_factory.mktemp("project"), prefix)


@pytest.fixture
def mine(project):
    return project.built()


@pytest.fixture
def sweep(installed):
    """A config over a tiny capture of `salebench synth`."""
    installed.run("synth", "--length", 300, "--q-heads", 2, "--kv-heads", 1, "--head-dim", 32, "-o", "tiny.h5")
    config = {"datasets": [{"path": "tiny.h5"}], "methods": {"dense": {}, "every_other": {"step": [1, 2]}}, "threads": 1,
              "measure": {"warmup": 0, "min_time": 0, "max_time": 0.02, "min_samples": 2, "cache": "hot"}}  # fmt: skip
    (installed.folder / "tiny.yaml").write_text(json.dumps(config))
    return "tiny.yaml"


def test_list_shows_it(installed, mine):
    assert "every_other (version 1, tile 64x64" in installed.run("--plugin", mine, "list").stdout
    assert "every_other" in installed.run(f"--plugin={mine}", "list", "methods").stdout
    assert f"plugin: {mine} " in installed.run("list", "every_other", "--plugin", mine).stdout
    assert f"{mine} " in installed.run("info", "--plugin", mine).stdout
    assert "every_other" in installed.run("list", SALEBENCH_PLUGINS=f":{mine}:").stdout
    assert "every_other" not in installed.run("list").stdout


def test_several_and_the_same_again(installed, project, mine):
    shown = installed.run("--plugin", mine, "list", "--plugin", project.built("mean_keys"), "--plugin", mine,
                          SALEBENCH_PLUGINS=str(mine)).stdout
    assert shown.count("\nevery_other ") == 1 and shown.count("\nmean_keys ") == 1


def test_sweep_remembers_it(installed, sweep, mine):
    installed.run("run", sweep, "-o", "out", "--plugin", mine)
    assert column(installed.folder / "out", "status") == ["ok"] * 3
    origins = [text.split(" ")[0] for text in column(installed.folder / "out", "plugin")]
    assert origins == ["", str(mine), str(mine)]
    first = column(installed.folder / "out", "finished_utc")
    installed.run("run", sweep, "-o", "out", "--resume")
    assert column(installed.folder / "out", "finished_utc") == first
    (installed.folder / "out/run.h5").unlink()
    installed.run("collect", "out")
    assert "every_other" in installed.run("report", "out").stdout
    for cell in (installed.folder / "out/cells").glob("every_other*"):
        cell.unlink()
    installed.run("run", sweep, "-o", "out", "--resume")
    assert column(installed.folder / "out", "status") == ["ok"] * 3


def test_repeat_line_runs_as_it_stands(installed, sweep, mine):
    installed.run("run", sweep, "-o", "out", "--quick", SALEBENCH_PLUGINS=str(mine))
    line = column(installed.folder / "out", "repro")[1]
    assert line.endswith(f" --plugin {mine}")
    installed.run(*shlex.split(line)[1:])
    assert column(installed.folder / "out-repeat", "method") == ["every_other"]


def test_moved_and_rebuilt(installed, sweep, mine):
    first, second = installed.folder / "first", installed.folder / "second"
    first.mkdir(), second.mkdir()
    moved = Path(shutil.copy(mine, first))
    installed.run("run", sweep, "-o", "out", "--quick", "--plugin", moved)
    moved = moved.rename(second / mine.name)
    installed.refuses("run", sweep, "-o", "out", "--quick", "--resume", says=[first / mine.name, "No such file"])
    process = installed.run("run", sweep, "-o", "out", "--quick", "--resume", "--plugin", moved)
    assert "another build of their plugin" not in process.stderr
    with moved.open("ab") as file:
        file.write(b"\0")
    process = installed.run("run", sweep, "-o", "out", "--quick", "--resume")
    assert "2 kept cells are from another build of their plugin" in process.stderr


def test_calibrates(installed, sweep, project):
    config = json.loads((installed.folder / sweep).read_text())
    config["methods"] = {"mean_keys": {}}
    config["calibrate"] = {"target": {"rel_l2": 0.5}}
    (installed.folder / "calibrate.yaml").write_text(json.dumps(config))
    library = project.built("mean_keys")
    installed.run("calibrate", "calibrate.yaml", "-o", "values", "--plugin", library)
    installed.run("run", "values/run.yaml", "-o", "calibrated", "--plugin", library)
    assert set(column(installed.folder / "calibrated", "status")) == {"ok"}


def test_another_abi_is_refused(installed, project):
    """Before its static constructors run, which end the program with a signal."""
    project.build("-DSALEBENCH_PLUGIN_ABI=0.1.0, headers 0123456789ab", into="other", target="crashing")
    library = project.built("crashing", into="other")
    installed.refuses("list", "--plugin", library, says=[library, "0.1.0, headers 0123456789ab", "build it again"])


def test_flags_that_change_layouts_are_refused(installed, project):
    project.build("-DCMAKE_CXX_FLAGS=-D_GLIBCXX_DEBUG", into="debug", target="mine")
    library = project.built(into="debug")
    installed.refuses("list", "--plugin", library, says=[library, "was built for another program"])


def test_program_exports_all_of_core_and_kernels(installed):
    """A plugin may call what no built-in method calls."""
    exported = names(installed.program, "--dynamic")
    for part in ("core", "kernels"):
        own = {name for name in names(BUILD / part / f"libsalebench_{part}.a") if "9salebench" in name}
        assert len(own) > 50 and own <= exported, own - exported


def test_wrong_files_are_refused(installed, project, prefix):
    def refused(path, *says):
        installed.refuses("list", "--plugin", path, says=[path, *says])

    text = installed.folder / "text.so"
    text.write_text("no library" * 20)
    refused("missing.so", "No such file")
    refused(installed.folder, "is no file")
    refused(text, "is no shared library", "salebench_add_plugin")
    refused(project.built("plain"), "no plugin", "salebench_add_plugin")
    refused(project.built("idle"), "has no method", "SALEBENCH_METHOD")
    refused(project.built("incomplete"), "undefined symbol")
    refused(project.built("clash"), "'sale'", "a built-in one", "rename it")
    installed.refuses("list", SALEBENCH_PLUGINS="gone.so", says=["gone.so"])
    copy = Path(shutil.copy(project.built(), installed.folder / "copy.so"))
    installed.refuses("list", "--plugin", project.built(), "--plugin", copy,
                      says=[copy, "'every_other'", f"plugin {project.built()}"])


def test_unknown_verb_after_a_plugin_is_named(installed, mine):
    installed.refuses("--plugin", mine, "lst", says=["unknown verb 'lst'", "list"])


@pytest.mark.parametrize("place, form, value", [
    (40, "<Q", 1 << 63), (40, "<Q", (1 << 64) - 64), (58, "<H", 3), (60, "<H", 0), (62, "<H", 0xFFFE),
    (18, "<H", 183), (4, "<B", 1)])  # fmt: skip
def test_damaged_headers_are_refused(installed, mine, place, form, value):
    data = bytearray(mine.read_bytes())
    struct.pack_into(form, data, place, value)
    (installed.folder / "damaged.so").write_bytes(data)
    installed.refuses("list", "--plugin", "damaged.so", says=["damaged.so"])


def test_cut_files_are_refused(installed, mine):
    data = mine.read_bytes()
    for size in [0, 1, 63, 64, 65, len(data) // 2, len(data) - 65, len(data) - 1]:
        (installed.folder / "cut.so").write_bytes(data[:size])
        installed.refuses("list", "--plugin", "cut.so", says=["cut.so"])


def test_program_from_another_place(project, mine, prefix, tmp_path):
    """A prefix that moved, with the program stripped as in a package: nothing in it knows where it was installed."""
    moved = shutil.copytree(prefix, tmp_path / "moved", symlinks=True)
    checked("strip", moved / "bin/salebench")
    assert "every_other" in Elsewhere(tmp_path, moved).run("list", "--plugin", mine).stdout
    checked(CMAKE, "-S", project.folder, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={moved}",
            f"-DCMAKE_CXX_COMPILER={os.environ['SALEBENCH_CXX']}", "-G", "Ninja")
