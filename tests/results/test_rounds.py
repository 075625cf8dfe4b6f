"""Tests of results/rounds.py on made-up runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_results import cells_frame

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "results"))
import load as results  # noqa: E402
import rounds  # noqa: E402


def test_rounds_become_one_row():
    frame = cells_frame(round=[0, 1, 2, 0], method=["a", "a", "a", "b"], total_s=[3.0, 1.0, 2.0, 9.0],
                        **{name: [1.0] * 4 for name in results.TIMES if name != "total_s"})  # fmt: skip
    merged = results.timed(frame)
    assert list(merged.method) == ["a", "b"] and list(merged.total_s) == [2.0, 9.0]
    assert len(results.usable(frame)) == 4


def rounds_run(totals: list[list[float]]) -> results.Run:
    """A run of one cell in several rounds, whose samples have these totals, in two phases."""
    numbers = list(range(len(totals)))
    cells = cells_frame(cell=numbers, round=numbers, settings=[""] * len(totals), noise=[0.01] * len(totals))
    samples = [{"cell": cell, "sample": i, "phase": phase, "seconds": total / 2, "sm_clock_mhz": 1e3 / total}
               for cell, row in enumerate(totals) for i, total in enumerate(row) for phase in ("select", "attend")]
    samples += [{**sample, "phase": "dense"} for sample in samples]
    none, texts = pd.DataFrame(), dict.fromkeys(("run", "created_utc", "argv", "config_yaml", "note"), "")
    return results.Run(path=Path(), cells=cells, heads=none, samples=pd.DataFrame(samples), problems=none, **texts,
                       provenance={})  # fmt: skip


def test_rounds_that_agree_and_rounds_that_do_not():
    random = np.random.default_rng(1)
    alike = rounds.against_itself(rounds_run(random.normal(1, 0.01, (20, 40)).tolist())).iloc[0]
    assert alike["pairs called different %"] < 15 and alike["median ms"] == pytest.approx(1000, rel=0.01)
    apart = rounds.against_itself(rounds_run((random.normal(1, 0.01, (20, 40)) + np.arange(20)[:, None]).tolist()))
    assert apart.iloc[0]["pairs called different %"] == 100
    assert apart.iloc[0]["deviation of cycles %"] == pytest.approx(0, abs=1e-9)  # the clock explains it all
    assert apart.iloc[0]["range %"] == pytest.approx(100 * 19 / 10.5, rel=0.02)
    assert rounds.against_itself(rounds_run([[1.0, 2.0]])).empty


def test_rounds_of_two_captures_of_one_name_stay_apart():
    run = rounds_run([[1.0, 1.0], [9.0, 9.0], [1.0, 1.0], [9.0, 9.0]])
    run.cells[["dataset", "round"]] = [["/x/a/c.h5", 0], ["/x/b/c.h5", 0], ["/x/a/c.h5", 1], ["/x/b/c.h5", 1]]
    table = rounds.against_itself(run)
    assert list(table.problem) == ["a/c.h5 p", "b/c.h5 p"] and list(table["range %"]) == [0, 0]


def test_processes_needed():
    assert rounds.processes_needed(0.01, 0.01) == 8  # 2 * 1.96^2 = 7.7
    assert rounds.processes_needed(0, 0.01) == 1
