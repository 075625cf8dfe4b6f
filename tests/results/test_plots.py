"""What the notebooks draw and scripts/lengths prints, on runs made up here."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from test_results import ROOT, cells_frame, check_rendered, render

import load as results
import plotting


def cell(number: int, dataset: str, method: str, params: dict, cost: float, **more) -> dict:
    """A cell of a run; `cost` sets its density, recall and times."""
    total = 0.01 * cost
    return {"cell": number, "id": f"{method}-{number}", "method": method, "role": "method", "params": json.dumps(params),
            "settings": " ".join(f"{name}={value}" for name, value in params.items()), "dataset": dataset, "problem": "p",
            "fingerprint": dataset[::-1], "kv_len": 64, "repeat": 1, "backend": "cpu", "device": "", "threads": 2,
            "cache": "cold", "round": 0, "status": "ok", "reason": "", "density": cost, "recall_mean": 1 - 0.1 / cost / 10,
            "rel_l2": 0.1 / cost, "select_s": 0.1 * total, "attend_s": 0.9 * total, "total_s": total,
            "total_lo_s": 0.8 * total, "total_hi_s": 1.3 * total, "dense_s": 0.01, "speedup": 1 / cost,
            "speedup_lo": 0.7 / cost, "speedup_hi": 1.1 / cost, "noise": 0.2, "converged": 0, "samples": 3,
            "timing_usable": 1, "git_sha": "abc", **more}  # fmt: skip


def write_run(folder: Path, rows: list[dict]) -> Path:
    samples = [{"cell": row["cell"], "sample": i, "phase": phase, "seconds": row[f"{phase}_s"] * (1 + 0.1 * i)}
               for row, i, phase in itertools.product(rows, range(3), ("select", "attend"))]  # fmt: skip
    folder.mkdir()
    with h5py.File(folder / "run.h5", "w") as file:
        file.attrs.update(format=results.FORMAT, format_version=1, run="made up", created_utc="2026-01-02T03:04:05Z")
        for table, frame in {"cells": rows, "heads": [{"cell": 0}], "samples": samples, "problems": [{"id": "p"}]}.items():
            for name, column in pd.DataFrame(frame).items():
                kind = h5py.string_dtype() if column.dtype == object else None
                file.create_dataset(f"{table}/{name}", data=column.to_numpy(), dtype=kind)
    return folder


def rows_of(dataset: str, first: int, **more) -> list[dict]:
    """Dense, a method with two axes of four values, and masks from files."""
    rows = [cell(first, dataset, "dense", {}, 1.0, role="baseline", **more)]
    for stride, threshold in itertools.product((2, 4, 8, 16), (0.5, 0.7, 0.8, 0.9)):
        params = {"stride": stride, "threshold": threshold, "block": "64x64"}
        rows.append(cell(first + len(rows), dataset, "xattention", params, threshold - stride / 100, **more))
    for name in ("a", "b"):
        params = {"masks": f"/home/me/{name}/masks.npz"}
        rows.append(cell(first + len(rows), dataset, "external", params, 0.5, **more))
    return rows


def test_many_lines_two_captures_of_one_name_and_paths(tmp_path):
    rows = rows_of("/data/llama/capture.h5", 0)
    rows += rows_of("/data/qwen/capture.h5", len(rows))
    plots = check_rendered(render(write_run(tmp_path / "run", rows), tmp_path / "out"), tmp_path / "out")
    for model, kind in itertools.product(("llama", "qwen"), ("pareto", "latency_length")):
        assert f"{kind}_{model}_capture.h5_p.png" in plots
    for name in ("pareto", "latency"):
        assert "/home/me" not in (tmp_path / "out" / "notebooks" / f"{name}.html").read_text(encoding="utf-8")


def test_columns_of_knob_machine_and_load(tmp_path):
    """Rounds on two machines, one of them busy in one round."""
    rows = []
    for host, number in itertools.product(("Xeon", "EPYC"), range(2)):
        more = {"host": host, "simd": "AVX2", "knob": "threshold", "note": f"on {host}", "load": 0.1 + number, "round": number}
        rows += rows_of("d.h5", len(rows), **more, busy=int(host == "Xeon" and number == 1))
    folder = write_run(tmp_path / "run", rows)
    run = results.load(folder)
    assert results.environment_line(run).startswith("EPYC and Xeon, 2 CPU threads, AVX2, commit abc,")
    assert results.notes(run) == "on EPYC; on Xeon"
    assert results.busy_remark(run.cells).startswith("19 of 76 timed cells were measured on a busy machine")
    assert results.busy_remark(run.cells.assign(busy=0)) == results.busy_remark(run.cells.drop(columns="busy")) == ""
    plots = check_rendered(render(folder, tmp_path / "out"), tmp_path / "out")
    assert {"pareto_p_EPYC.png", "pareto_p_Xeon.png"} <= set(plots)
    for name in ("pareto", "latency"):
        assert "on a busy machine" in (tmp_path / "out" / "notebooks" / f"{name}.html").read_text(encoding="utf-8")


def test_a_line_follows_the_knob():
    grid = list(itertools.product((2, 4, 8, 16), (0.8, 0.9)))
    frame = cells_frame(params=[json.dumps({"stride": stride, "threshold": t}) for stride, t in grid], method=["x"] * 8)
    assert {line.axis for line in results.series(frame)} == {"stride"}
    lines = list(results.series(frame.assign(knob="threshold")))
    assert [line.label for line in lines] == [f"x stride={stride}" for stride in (2, 4, 8, 16)]
    assert all(line.axis == "threshold" and list(line.rows.value) == [0.8, 0.9] for line in lines)
    one = frame[[t == 0.8 for _, t in grid]].assign(knob="threshold")
    assert [line.axis for line in results.series(one)] == ["stride"], "a knob that does not vary joins nothing"


def test_lines_are_told_apart_without_absolute_paths():
    frame = cells_frame(params=[json.dumps({"masks": f"/x/{name}/m.npz"}) for name in "abc"], method=["external"] * 3)
    assert [line.label for line in results.series(frame)] == [f"external masks={name}/m.npz" for name in "abc"]
    styles = [plotting.dashes(number) for number in range(5)]
    assert all(a != b for a, b in itertools.combinations(styles, 2))
    assert np.isnan([line.rows.value.iloc[0] for line in results.series(frame)]).all()


def test_lengths_tells_captures_apart_and_finds_them_in_a_run_made_elsewhere(tmp_path):
    rows = [cell(i, f"/data/{model}/capture.h5", "sale", {"bits": 4}, cost, kv_len=length, fingerprint=f"{model}{length}")
            for i, (model, length, cost) in enumerate([("qwen", 64, 0.5), ("llama", 64, 2.0), ("llama", 128, 0.5)])]
    write_run(tmp_path / "run", rows)
    moved = [row | {"dataset": row["dataset"].replace("/data", "/mnt"), "total_s": 2 * row["total_s"]} for row in rows[::-1]]
    write_run(tmp_path / "other", moved)
    command = [sys.executable, str(ROOT / "scripts" / "lengths"), str(tmp_path / "run"), str(tmp_path / "other")]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    llama, qwen = text.split("\n\n")[1:]
    assert llama.startswith("llama/capture.h5 p: sale bits=4\n") and "break-even length: 91" in llama
    assert qwen.startswith("qwen/capture.h5 p: sale bits=4\n") and "break-even length: below 64" in qwen
    assert [line.split()[-1] for line in (llama + "\n" + qwen).splitlines() if line.strip()[:1].isdigit()] == ["0.50"] * 3
