"""Cells on a CUDA device: methods that break there cost their own cell; and what is said where there is no device."""

import subprocess

import numpy as np
import pytest
from cli_helpers import ACCURACY, PROGRAM, TEST_PROGRAM, Box, problem

EXPECTED = {  # method: (status, part of the reason)
    "dense": ("ok", ""),
    "streaming": ("ok", ""),
    "test_cuda_fault": ("error", "illegal memory access"),
    "test_cuda_hang": ("timeout", "limits.cell_timeout"),
    "test_cuda_oom": ("oom", "memory"),
    "test_cuda_flaky": ("incorrect", "timed output"),
    "test_cuda_other_tiles": ("incorrect", "other tiles"),
    "test_cuda_future": ("incorrect", "no row may see"),
    "test_cuda_nan": ("incorrect", "nan"),
    "test_cuda_unwritten": ("incorrect", "not written"),
    "test_cuda_replay": ("incorrect", "after the tensors changed"),
    "test_cuda_replay_mask": ("incorrect", "after the tensors changed"),
    "sale": ("ok", "dense: at most 1024 tokens"),
    "block_topp": ("ok", "mask made on the CPU"),
    "quest": ("unsupported", "tiles of 32, 64 or 128 keys"),
    "blasst": ("unsupported", "its attention, as it is parametrised, has no CUDA kernel"),
}
IN_PROCESS = [name for name in EXPECTED if name not in ("test_cuda_fault", "test_cuda_hang")]


def why_no_device():
    info = subprocess.run([PROGRAM, "info"], capture_output=True, text=True, check=True).stdout
    lines = dict(line.split(maxsplit=1) for line in info.splitlines() if len(line.split(maxsplit=1)) == 2)
    return lines.get("cuda.why_none", "") if lines["cuda.devices"] == "[]" else ""


WHY_NO_DEVICE = why_no_device()
needs_device = pytest.mark.skipif(bool(WHY_NO_DEVICE), reason=WHY_NO_DEVICE)
needs_no_device = pytest.mark.skipif(not WHY_NO_DEVICE, reason="there is a device")


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path)
    box.capture(p=problem(dim=64))
    return box


def cuda_config(box, methods, **more):
    return box.config({name: {} for name in methods}, backend=["cuda"], **more)


def check_rows(rows, expected):
    assert {row["method"] for row in rows} == set(expected) and len(rows) == len(expected)
    for row in rows:
        status, reason = EXPECTED[row["method"]]
        assert row["status"] == status and reason in row["reason"], row
        assert row["backend"] == "cuda" and row["signal"] == 0, row
        if status == "ok":
            assert row["selected_on"] == {"dense": "", "block_topp": "cpu"}.get(row["method"], "cuda")
        for column in ["attend_s", "total_s", "dense_s", *ACCURACY]:
            assert np.isnan(row[column]) == (status != "ok"), (row["method"], column, row[column])


def finished(box):
    return {path.name: path.read_bytes() for path in box.path("out/cells").glob("*.h5")}


@needs_device
def test_methods_that_break_on_the_device_cost_their_own_cell_only(box):
    config = cuda_config(box, EXPECTED, limits={"cell_timeout": 30})
    process = box.run("run", config, "-o", "out", code=1, program=TEST_PROGRAM)
    rows = box.rows()
    check_rows(rows, EXPECTED)
    assert {sample["cell"] for sample in box.rows(table="samples")} == {
        row["cell"] for row in rows if row["status"] == "ok"}
    for row in rows:
        failed = row["status"] not in ("ok", "unsupported")
        assert (row["repro"] in process.stderr) == failed
    # A resumed run runs nothing; a retried one what failed, which fails again for the same reason.
    before = finished(box)
    failed = {row["id"] + ".h5" for row in rows if row["status"] not in ("ok", "unsupported")}
    check_rows(box.sweep(config, "--resume", code=1, program=TEST_PROGRAM), EXPECTED)
    assert finished(box) == before
    check_rows(box.sweep(config, "--retry-failed", code=1, program=TEST_PROGRAM), EXPECTED)
    after = finished(box)
    assert after.keys() == before.keys() and {name for name in after if after[name] != before[name]} == failed


@needs_device
def test_methods_that_break_on_the_device_in_process(box):
    config = cuda_config(box, IN_PROCESS)
    check_rows(box.sweep(config, "--in-process", code=1, program=TEST_PROGRAM), IN_PROCESS)


@needs_device
def test_what_the_mask_costs_is_told_from_what_the_attention_costs(box):
    row, = box.sweep(cuda_config(box, ["test_cuda_forgets"]), program=TEST_PROGRAM)
    first, second = box.rows(table="heads")
    assert row["status"] == "ok" and 0 < row["gain"] < 1 and row["mask_rel_l2"] < 0.01 < row["rel_l2"]
    assert first["gain"] == pytest.approx(1, abs=0.01) and second["gain"] == 0
    assert first["rel_l2"] < 0.01 and second["rel_l2"] == 1
    assert first["mask_rel_l2"] == first["rel_l2"] and second["mask_rel_l2"] < 0.01


def outside_problems():
    """Problems that no CUDA kernel takes, and one that they take."""
    float32 = {name: part.astype(np.float32) if name in "qkv" else part for name, part in problem(dim=64).items()}
    return {"float32": float32, "dim80": problem(dim=80, seed=2), "taken": problem(dim=64, seed=3)}


@needs_device
def test_problems_that_no_cuda_kernel_takes(box):
    box.capture(**outside_problems())
    rows = {row["problem"]: row for row in box.sweep(cuda_config(box, ["dense"]))}
    assert {name: row["status"] for name, row in rows.items()} == {
        "float32": "unsupported", "dim80": "unsupported", "taken": "ok"}
    assert "float32" in rows["float32"]["reason"] and "head_dim" in rows["dim80"]["reason"]


@pytest.mark.skipif(WHY_NO_DEVICE != "built without CUDA", reason="built with CUDA")
def test_dry_run_of_a_build_without_cuda_skips_every_cell(box):
    lines = box.run("run", cuda_config(box, ["dense", "streaming"]), "--dry-run").stdout.splitlines()
    skips = [line for line in lines if line.startswith("skip ")]
    assert len(skips) == 2 and all("with CUDA" in line or "without CUDA" in line for line in skips), lines


@pytest.mark.skipif(WHY_NO_DEVICE == "built without CUDA", reason="built without CUDA")
def test_dry_run_needs_no_device(box):
    box.capture(**outside_problems())
    lines = box.run("run", cuda_config(box, ["streaming", "quest"]), "--dry-run").stdout.splitlines()
    skips = [line for line in lines if line.startswith("skip ")]
    assert [line for line in lines if line.startswith("run ") and "taken" in line and "streaming" in line]
    assert len(skips) == 5
    for what, why in [("float32", "float32 values"), ("dim80", "head_dim"), ("quest", "keys")]:
        assert [line for line in skips if what in line and why in line], (what, skips)
    assert not box.path("out").exists() and not box.path("runs").exists()


@needs_no_device
def test_without_a_device(box):
    config = cuda_config(box, ["dense"])
    line = box.fails(5, "run", config, "-o", "out", says=["backend cuda", "--set backend=cpu", WHY_NO_DEVICE])
    assert "backend: [cpu]" in line and not box.path("out").exists()
    rows = box.sweep(config, "--set", "backend=cpu")
    assert [(row["status"], row["backend"]) for row in rows] == [("ok", "cpu")]
