"""Runs that are repeated, go on elsewhere or with another config, or are made beside other work."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import h5py
import pytest
from cli_helpers import HANG, PROGRAM, TEST_PROGRAM, Box, lines_of, problem

SIMD = ["AVX2", "SCALAR"]


@pytest.fixture
def box(tmp_path):
    folder = tmp_path / "it's a folder"  # what a shell must be told carefully
    folder.mkdir()
    box = Box(folder)
    yield box
    box.end_all()


def attributes(box, out="out"):
    with h5py.File(box.path(out) / "run.h5") as file:
        return {name: str(file.attrs[name]) for name in ("created_utc", "note", "run")}


def test_repeat_line_runs_as_printed(box, tmp_path):
    config = box.config({"dense": {}, "block_topk": {"budget": [0.1, 0.5]}})
    rows = box.sweep(config, "--set", "methods.block_topk.budget=[0.3]", "--quick")
    assert len(rows) == 2
    path = f"{os.path.dirname(PROGRAM)}:{os.environ['PATH']}"
    for row in rows:
        subprocess.run(row["repro"], shell=True, check=True, cwd=tmp_path, env={**box.env, "PATH": path},
                       capture_output=True)
        again = {r["id"]: r for r in box.rows("out-repeat")}
        assert again[row["id"]]["recall_mean"] == row["recall_mean"]


def test_kept_config_runs_from_anywhere(box, tmp_path):
    box.path("below").mkdir()
    box.capture("data.h5")
    config = box.config({"dense": {}}, [{"path": "../data.h5"}], name="below/c.yaml", run="mine")
    rows = box.sweep(config, "--set", "threads=1")
    listed = subprocess.run([PROGRAM, "run", box.path("out") / "config.yaml", "--dry-run"], cwd=tmp_path, env=box.env,
                            capture_output=True, text=True, check=True).stdout
    assert [line.split()[1] for line in listed.splitlines()[:-1]] == [row["id"] for row in rows]


def other_simd(box):
    """An instruction set that this machine has and does not choose."""
    for name in SIMD:
        info = subprocess.run([PROGRAM, "info"], env={**box.env, "SALEBENCH_SIMD": name}, capture_output=True, text=True)
        if info.returncode == 0 and "host.simd" in info.stdout:
            used = next(line.split()[1] for line in info.stdout.splitlines() if line.startswith("host.simd"))
            chosen = box.run("info").stdout.split("host.simd")[1].split()[0]
            if used != chosen:
                return name
    pytest.skip("this machine has one instruction set")


def test_resume_elsewhere_keeps_what_the_cells_were_made_with(box):
    config = box.config({"dense": {}, "random": {}})
    other = other_simd(box)
    env, box.env = box.env, {**box.env, "SALEBENCH_SIMD": other}
    box.run("run", config, "-o", "out", "--only", "random*", "--note", "old node")
    first, box.env = attributes(box), env
    process = box.run("run", config, "-o", "out", "--resume")
    assert any("1 kept cells were measured elsewhere" in line for line in lines_of(process.stderr))
    rows = {row["method"]: row for row in box.rows()}
    assert rows["random"]["simd"] == other != rows["dense"]["simd"]
    assert (rows["random"]["note"], rows["dense"]["note"]) == ("old node", "")
    assert attributes(box) == first
    table = box.run("report", "out").stdout
    assert f"p {other}" in table and "[old node]" in table


def test_resume_names_the_finished_cells_that_it_leaves_out(box):
    kept, dropped = (row["id"] for row in box.sweep(box.config({"dense": {}, "random": {}})))
    process = box.run("run", box.config({"dense": {}, "quest": {}}), "-o", "out", "--resume")
    lines = lines_of(process.stderr)
    assert any("1 finished cells are not in this config" in line and dropped in line for line in lines), lines
    assert [row["method"] for row in box.rows()] == ["dense", "quest"] and box.rows()[0]["id"] == kept


@pytest.fixture
def busy_machine():
    """Twice as many busy processes as there are cores."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2 * os.cpu_count())]
    yield
    for loop in loops:
        loop.kill()
        loop.wait(timeout=HANG)


def test_busy_machine_is_said_first_and_marked(box, busy_machine):
    threads = os.cpu_count()
    box.capture(p=problem(kv_len=2048, dim=64))
    config = box.config({"dense": {}, "streaming": {"local": 100}}, threads=threads,
                        measure={"warmup": 0, "min_time": 1, "max_time": 1})
    process = box.run("run", config, "-o", "out")
    assert process.stderr.startswith("salebench: warning: load ") and "times will not be usable" in process.stderr
    for row in box.rows():
        assert row["busy"] == 1 and row["other_cores"] > 0.25 and row["load"] >= 0, row
    report = box.run("report", "out").stdout
    assert report.count("(busy machine: times not usable)") == 2 and "busy: 2 of 2 rows" in report


def test_timeout_on_a_busy_machine_says_so(box, busy_machine):
    config = box.config({"test_hang": {}}, threads=os.cpu_count(), limits={"cell_timeout": 2})
    rows = box.sweep(config, code=1, program=TEST_PROGRAM)
    assert rows[0]["status"] == "timeout" and "on a busy machine: load" in rows[0]["reason"] and rows[0]["busy"] == 1


def test_metadata_of_a_problem_stands_once(box):
    text = "word " * 50000
    box.capture(p=problem(prompt=text))
    rows = box.sweep(box.config({"dense": {}, "random": {"density": [0.1, 0.2, 0.3, 0.4]}}))
    assert len(rows) == 5
    assert box.path("out/plan.json").read_text().count(text) == 1
    assert sum(path.stat().st_size for path in box.path("out/cells").glob("*.h5")) < len(text) * 5
    assert [row["prompt"] for row in box.rows(table="problems")] == [text]


def test_plan_of_another_version_is_refused_by_name(box):
    box.sweep(box.config({"dense": {}}))
    plan = box.path("out/plan.json")
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "plan_version": 1}))
    box.fails(2, "report", "out", says=["version 1", "this program reads 4"])


def test_words_of_a_repeat_line(box):
    row = box.sweep(box.config({"dense": {}}))[0]
    words = shlex.split(row["repro"])
    assert words[:2] == ["salebench", "run"] and words[2] == str(box.path("out/config.yaml"))
    assert words[words.index("-o") + 1] == f"{box.path('out')}-repeat" and "--quick" not in words


def test_collecting_again_reads_only_what_changed(box):
    box.sweep(box.config({"dense": {}, "block_topk": {"budget": [0.2, 0.5]}}, save=["masks"]))
    before = {table: repr(box.rows("out", table)) for table in ("cells", "heads", "samples")}
    box.run("collect", "out")
    assert {table: repr(box.rows("out", table)) for table in before} == before
    first, _, third = (box.path(f"out/cells/{row['id']}.h5") for row in box.rows())
    for name in ("run.h5", "collected.json"):  # damaged, all is read from the cells' own files
        box.path(f"out/{name}").write_text("damaged")
        box.run("collect", "out")
        assert {table: repr(box.rows("out", table)) for table in before} == before
    shutil.copy(first, first.with_suffix(".new"))
    with h5py.File(first.with_suffix(".new"), "r+") as file:
        file["cells/note"][0] = "another"
    os.replace(first.with_suffix(".new"), first)
    third.unlink()
    box.run("collect", "out", code=1)
    rows = box.rows()
    assert [row["note"] for row in rows] == ["another", "", ""]
    assert [row["status"] for row in rows] == ["ok", "ok", "interrupted"]
