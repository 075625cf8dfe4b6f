"""The figures and names of places that `salebench report` also makes, by the table of cases that same_figures_test.cpp
reads too."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "results"))
import load as results  # noqa: E402
import rank as ranking  # noqa: E402

TABLE = json.loads((ROOT / "tests" / "cases" / "same_figures.json").read_text(encoding="utf-8"))


def frame(case: dict) -> pd.DataFrame:
    """The cells of a case; null is NaN."""
    cells = pd.DataFrame([TABLE["defaults"] | cell for cell in case["cells"]])
    return cells.assign(**{name: pd.to_numeric(cells[name]) for name in (*results.TIMES, "recall_mean") if name in cells})


def check(rows: pd.DataFrame, expected: list[dict]) -> None:
    assert list(rows.index) == [row["cell"] for row in expected]
    for (_, got), row in zip(rows.iterrows(), expected):
        assert {name: got[name] for name in row if name != "cell"} == pytest.approx(
            {name: value for name, value in row.items() if name != "cell"}, nan_ok=True
        )


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in TABLE["cases"]])
def test_as_in_the_table_of_cases(case):
    cells = frame(case)
    if "labels" in case:
        assert list(results.place_label(cells)) == case["labels"]
    if "short_settings" in case:
        assert list(results.settings_label(cells)) == case["short_settings"]
    if "timed" in case:
        check(results.timed(cells), case["timed"])
    for recall, picked in case.get("at_recall", {}).items():
        check(results.at_recall(cells, float(recall)), picked)
    for ranked in case.get("rank", []):
        rows = ranking.rank(cells, **ranked["target"]).to_dict("records")
        assert [row["method"] for row in rows] == [row["method"] for row in ranked["rows"]]
        for got, row in zip(rows, ranked["rows"]):
            for name, value in row.items():
                wanted = np.nan if value is None else value
                assert got[name] == (value if isinstance(value, str) else pytest.approx(wanted, rel=1e-12, nan_ok=True)), name


def test_measured_has_each_setting_once_and_only_usable_times():
    by_name = {case["name"]: frame(case) for case in TABLE["cases"]}
    rows = results.measured(by_name["only usable times count, of two the mean"])
    assert list(rows.index) == [1, 4, 5] and list(rows.rounds) == [2, 0, 0]
    assert rows.total_s[1] == pytest.approx(0.7) and rows.total_s[[4, 5]].isna().all()


def test_hosts_and_instruction_sets_are_measurements_of_their_own():
    cells = pd.DataFrame([TABLE["defaults"] | {"host": host, "simd": simd, "total_s": total, "round": i}
                          for i, (host, simd, total) in enumerate([("X", "AVX2", 1.0), ("X", "AVX3", 2.0),
                                                                   ("Y", "AVX3", 4.0), ("X", "AVX2", 3.0),
                                                                   ("", "", 9.0)])])  # fmt: skip
    cells.loc[4, ["status", "timing_usable"]] = "error", 0
    assert list(results.place_label(cells)) == ["p X AVX2", "p X AVX3", "p Y AVX3", "p X AVX2", "p"]
    assert list(results.timed(cells).total_s) == [2.0, 2.0, 4.0]
    assert list(results.at_recall(cells, 0.5).index) == [0, 1, 2]
