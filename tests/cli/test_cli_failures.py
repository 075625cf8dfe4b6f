"""Methods that misbehave, and processes that are killed: each costs its own cell at most."""

import hashlib
import math
import os
import signal

import pytest
from cli_helpers import (ACCURACY, HANG, TEST_PROGRAM, TIMES, is_alive, problem, read_table, wait_for, worker_of)

EXPECTED = {  # method: (status, signal, part of the reason)
    "dense": ("ok", 0, ""),
    "streaming": ("ok", 0, ""),
    "test_hang": ("timeout", 0, "limits.cell_timeout"),
    "test_throw": ("error", 0, "the method gave up"),
    "test_nan": ("incorrect", 0, "nan"),
    "test_unwritten": ("incorrect", 0, "not written"),
    "test_segfault": ("crashed", signal.SIGSEGV, "SIGSEGV"),
    "test_abort": ("crashed", signal.SIGABRT, "SIGABRT"),
    "test_oom": ("oom", 0, "memory"),
    "test_flaky": ("incorrect", 0, "other tiles"),
    "test_cheat": ("incorrect", 0, "timed output"),
    "test_replay": ("incorrect", 0, "after the tensors changed"),
    "test_replay_mask": ("incorrect", 0, "after the tensors changed"),
    "test_future": ("incorrect", 0, "no row may see"),
    "test_unsupported": ("unsupported", 0, "covers no problem"),
}
IN_PROCESS = [name for name, (status, _, _) in EXPECTED.items() if status not in ("timeout", "crashed")]


def check_rows(rows, expected):
    assert {row["method"] for row in rows} == set(expected)
    for row in rows:
        status, number, reason = EXPECTED[row["method"]]
        assert (row["status"], row["signal"]) == (status, number), row
        assert reason in row["reason"] and (row["reason"] or status == "ok"), row
        for column in TIMES + ACCURACY:
            missing = status != "ok" or (column == "select_s" and row["method"] == "dense")
            assert math.isnan(row[column]) == missing, (row["method"], column, row[column])
        assert row["timing_usable"] == (status == "ok")
        assert row["repro"].startswith("salebench run ") and row["id"] in row["repro"]


def test_hang_costs_its_own_cell_only(box):
    """Alone, so that no other cell has to be done within a limit that a slow machine misses."""
    config = box.config({"test_hang": {}}, limits={"cell_timeout": 2})
    check_rows(box.sweep(config, code=1, program=TEST_PROGRAM), ["test_hang"])


def test_misbehaving_methods_cost_their_own_cell_only(box):
    expected = set(EXPECTED) - {"test_hang"}
    config = box.config({name: {} for name in EXPECTED if name in expected}, limits={"cell_timeout": HANG})
    process = box.run("run", config, "-o", "out", code=1, program=TEST_PROGRAM)
    rows = box.rows()
    check_rows(rows, expected)
    assert len(rows) == len(expected)
    cells_with_samples = {sample["cell"] for sample in box.rows(table="samples")}
    assert cells_with_samples == {row["cell"] for row in rows if row["status"] == "ok"}
    for row in rows:  # the end of the output says what failed, why, where the log is, and how to repeat it
        failed = row["status"] not in ("ok", "unsupported")
        assert (row["repro"] in process.stderr) == failed
        assert (f"out/logs/{row['id']}.log" in process.stderr) == failed


def test_misbehaving_methods_in_process(box):
    config = box.config({name: {} for name in IN_PROCESS})
    check_rows(box.sweep(config, "--in-process", code=1, program=TEST_PROGRAM), IN_PROCESS)


def test_only_unsupported_cells_measure_nothing(box):
    rows = box.sweep(box.config({"test_unsupported": {}}), code=4, program=TEST_PROGRAM)
    assert [row["status"] for row in rows] == ["unsupported"]


# Killed processes. A sweep of slow cells gives time to kill in its middle.


def slow_config(box, cells=4):
    return box.config({"test_slow": {"variant": list(range(cells))}},
                      measure={"warmup": 0, "min_time": 0, "max_time": 0, "min_samples": 1, "baseline": "none"})


def start_and_wait(box, config, finished=1):
    """A running sweep with some finished cells and a worker at another: (parent, worker, worker's cell)."""
    parent = box.start("run", config, "-o", "out", program=TEST_PROGRAM)
    wait_for(lambda: len(cell_files(box)) >= finished, "a finished cell")
    worker, cell = wait_for(lambda: worker_of(parent.pid), "a worker")
    assert parent.poll() is None
    return parent, worker, cell


def cell_files(box):
    """{file name: (sha256, modification time)} of the finished cells."""
    return {path.name: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
            for path in box.path("out/cells").glob("*.h5")}


def kept(before, after):
    return before == {name: after.get(name) for name in before}


def statuses(rows):
    return [row["status"] for row in rows]


def killed_parent(box, cells=4):
    """The config of a sweep whose parent was killed, and its cell files."""
    config = slow_config(box, cells)
    parent, worker, _ = start_and_wait(box, config)
    parent.kill()
    parent.communicate(timeout=HANG)
    wait_for(lambda: not is_alive(worker), "the end of the orphaned worker")
    files = cell_files(box)
    assert 0 < len(files) < cells
    assert not box.path("out/run.h5").exists()
    return config, files


def test_killed_parent_leaves_no_worker_and_resumes(box):
    config, files = killed_parent(box)
    for name in files:
        assert statuses(read_table(box.path("out/cells") / name)) == ["ok"]
    rows = box.sweep(config, "--resume", program=TEST_PROGRAM)
    assert statuses(rows) == ["ok"] * 4
    assert kept(files, cell_files(box)), "finished cells were written again"
    assert len(cell_files(box)) == 4


def test_report_and_collect_after_killed_parent(box):
    _, files = killed_parent(box)
    report = box.run("report", "out", "--all", program=TEST_PROGRAM).stdout
    assert report.count("interrupted") == 4 - len(files)
    box.run("collect", "out", program=TEST_PROGRAM, code=1)
    rows = box.rows()
    assert sorted(statuses(rows)) == sorted(["ok"] * len(files) + ["interrupted"] * (4 - len(files)))
    assert {row["id"] + ".h5" for row in rows if row["status"] == "ok"} == set(files)


def test_killed_worker_costs_its_cell_and_is_retried(box):
    config = slow_config(box, 3)
    parent, worker, killed = start_and_wait(box, config)
    os.kill(worker, signal.SIGKILL)
    parent.communicate(timeout=HANG)
    assert parent.returncode == 1
    rows = box.rows()
    assert {row["id"]: (row["status"], row["signal"]) for row in rows} == {
        row["id"]: ("crashed", signal.SIGKILL) if row["id"] == killed else ("ok", 0) for row in rows}
    files = cell_files(box)
    rows = box.sweep(config, "--resume", code=1, program=TEST_PROGRAM)
    assert sorted(statuses(rows)) == ["crashed", "ok", "ok"] and cell_files(box) == files
    rows = box.sweep(config, "--retry-failed", program=TEST_PROGRAM)
    assert statuses(rows) == ["ok"] * 3
    del files[killed + ".h5"]
    assert kept(files, cell_files(box))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_keeps_what_is_finished(box, number):
    config = slow_config(box)
    parent, worker, _ = start_and_wait(box, config)
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=HANG)
    assert parent.returncode == 130 and "--resume" in errors
    assert not is_alive(worker)
    files, rows = cell_files(box), box.rows()
    assert len(rows) == 4 and set(statuses(rows)) == {"ok", "interrupted"}
    assert {row["id"] + ".h5" for row in rows if row["status"] == "ok"} == set(files)
    assert all(row["reason"] for row in rows if row["status"] == "interrupted")
    assert statuses(box.sweep(config, "--resume", program=TEST_PROGRAM)) == ["ok"] * 4
    assert kept(files, cell_files(box))


def test_two_runs_in_one_folder(box):
    config = slow_config(box)
    parent, _, _ = start_and_wait(box, config)
    for flag in ("--resume", "--retry-failed", "--force"):
        box.fails(2, "run", config, "-o", "out", flag, says=["another run", "out"], program=TEST_PROGRAM)
    parent.communicate(timeout=HANG)
    assert parent.returncode == 0 and statuses(box.rows()) == ["ok"] * 4


def test_existing_folder_needs_a_flag(box):
    config = box.config({"dense": {}})
    box.sweep(config)
    before = cell_files(box)
    box.fails(2, "run", config, "-o", "out", says=["out exists", "--resume", "--retry-failed", "--force", "-o"])
    assert cell_files(box) == before
    box.sweep(config, "--resume")
    box.sweep(config, "--retry-failed")
    assert cell_files(box) == before
    box.sweep(config, "--force")
    assert cell_files(box).keys() == before.keys() and cell_files(box) != before


def test_resume_with_another_config_keeps_the_cells_of_both(box):
    """--resume with a changed config: the cells that both have stay, the new ones are run."""
    box.sweep(box.config({"dense": {}, "streaming": {"local": [64, 128]}}))
    before = cell_files(box)
    rows = box.sweep(box.config({"dense": {}, "streaming": {"local": [64, 96]}}), "--resume")
    assert [row["settings"] for row in rows] == ["", "local=64", "local=96"]
    assert kept(before, cell_files(box))


def test_resume_of_some_cells_keeps_the_others_in_run_h5(box):
    config = box.config({"dense": {}, "streaming": {"local": [64, 128]}})
    box.sweep(config)
    rows = box.sweep(config, "--resume", "--only", "dense*")
    assert statuses(rows) == ["ok"] * 3, "run.h5 lost the cells that --only leaves out"


def test_damaged_cell_file_counts_as_not_run(box):
    config = box.config({"dense": {}, "streaming": {}})
    box.sweep(config)
    victim = next(box.path("out/cells").glob("dense*.h5"))
    victim.write_bytes(victim.read_bytes()[:1000])
    assert "interrupted" in box.run("report", "out").stdout
    box.run("collect", "out", code=1)
    assert statuses(box.rows()) == ["interrupted", "ok"]
    assert statuses(box.sweep(config, "--resume")) == ["ok", "ok"]


def test_changed_capture_is_noticed(box):
    """A resumed run of a capture whose values changed: its cells are others, so none is taken over."""
    config = box.config({"dense": {}})
    before = box.sweep(config)
    box.capture(p=problem(seed=2))
    after = box.sweep(config, "--resume")
    assert before[0]["id"] != after[0]["id"] and before[0]["fingerprint"] != after[0]["fingerprint"]
