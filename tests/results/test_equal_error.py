"""The notebook of methods at equal error, on calibrations made up here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "results"))
import load as results  # noqa: E402

METHODS = {"dense": "baseline", "sale": "method", "streaming": "method", "oracle_global": "oracle"}


def calibration_rows() -> pd.DataFrame:
    """Two problems of two heads, four targets; errors just below the target, oracles sparsest."""
    rows = []
    for number, (method, role) in enumerate(METHODS.items()):
        for problem in ("layer1", "layer2"):
            for target in (0.01, 0.02, 0.05, 0.1):
                for head in (-1, 0, 1):
                    density = 1.0 if role == "baseline" else (0.9 - 0.1 * number - 2 * target) * (1 + 0.05 * head)
                    error = 0.0 if role == "baseline" else 0.95 * target
                    row = {"method": method, "role": role, "settings": "bits=4" if method == "sale" else "",
                           "knob": "" if role == "baseline" else "knob", "metric": "rel_l2", "target": target,
                           "scope": "head", "search": "bisection", "params": "{}", "fit": "first_half",
                           "dataset": "samples/d.h5", "problem": problem,
                           "kv_len": 1024, "head": head, "value": 0.1, "status": "fixed" if role == "baseline" else "ok",
                           "reason": "", "threads": 2}  # fmt: skip
                    for part, factor in (("fit", 1.0), ("held_out", 1.5)):
                        row |= {f"{part}_density": density, f"{part}_recall": 1 - error,
                                f"{part}_rel_l2": factor * error, f"{part}_l1_per_token": factor * error}  # fmt: skip
                    rows.append(row | {"select_s": 0.01 if head < 0 else np.nan, "attend_s": 0.02})
    return pd.DataFrame(rows)


def write(folder: Path, rows: pd.DataFrame) -> Path:
    folder.mkdir()
    with h5py.File(folder / "calibration.h5", "w") as file:
        file.attrs.update({"format": "salebench.calibration", "format_version": 1, "run": "made up",
                           "created_utc": "2025-01-02T03:04:05Z", "provenance": json.dumps({})})  # fmt: skip
        for name, column in rows.items():
            kind = h5py.string_dtype() if column.dtype == object else None
            file.create_dataset(f"calibration/{name}", data=column.to_numpy(), dtype=kind)
    return folder


def render(folder: Path) -> list[str]:
    """Renders and returns the names of the plots."""
    command = [sys.executable, str(ROOT / "notebooks" / "render.py"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert [page.name for page in (folder / "notebooks").iterdir()] == ["equal_error.html"]
    return sorted(plot.name for plot in folder.glob("plots/*.png"))


def page(folder: Path) -> str:
    return (folder / "notebooks" / "equal_error.html").read_text(encoding="utf-8")


def test_calibration_loads(tmp_path):
    folder = write(tmp_path / "c", calibration_rows())
    assert len(results.calibration(folder)) == len(calibration_rows())
    assert "2 CPU threads" in results.calibration_environment(folder)
    with pytest.raises(ValueError, match="not a result file"):
        results.load(folder / "calibration.h5")


def test_notebook(tmp_path):
    folder = write(tmp_path / "c", calibration_rows())
    assert render(folder) == ["equal_error_heads_rel_l2.png", "equal_error_layer1_1024_tokens.png",
                              "equal_error_layer2_1024_tokens.png"]  # fmt: skip
    text = page(folder)
    assert "10 % error" in text and "sale bits=4" in text and "left out below" not in text
    # sale is at 0.78, the oracle at 0.58, of a head at the smallest target: head factors cancel.
    assert f"{0.78 / 0.58:.2f} ({0.78 / 0.58:.2f})" in text


def test_two_captures_of_one_name(tmp_path):
    rows = calibration_rows()
    rows.loc[rows.problem == "layer2", ["dataset", "problem"]] = "/x/other/d.h5", "layer1"
    folder = write(tmp_path / "c", rows)
    assert render(folder)[1:] == ["equal_error_other_d.h5_layer1_1024_tokens.png",
                                  "equal_error_samples_d.h5_layer1_1024_tokens.png"]  # fmt: skip


def test_notebook_with_values_not_found(tmp_path):
    rows = calibration_rows()
    rows.loc[(rows.method == "streaming") & (rows.target < 0.05), "status"] = "unreachable"
    failed = (rows.method == "sale") & (rows.problem == "layer2")
    rows.loc[failed, ["status", "reason"]] = "unsupported", "head_dim 64 is not supported"
    folder = write(tmp_path / "c", rows)
    render(folder)
    assert "left out below" in page(folder) and "head_dim 64 is not supported" in page(folder)


def test_notebook_without_oracles_or_held_out_rows(tmp_path):
    rows = calibration_rows()
    rows = rows[rows.role != "oracle"].reset_index(drop=True)
    rows[[name for name in rows if name.startswith("held_out")]] = np.nan
    folder = write(tmp_path / "c", rows)
    render(folder)
    assert "No oracle was calibrated" in page(folder)


def test_bounds_are_those_of_the_same_scope(tmp_path):
    """An oracle whose heads share a value may be sparser on a head than the target allows it alone."""
    rows = calibration_rows()
    shared = rows[rows.role == "oracle"].assign(scope="layer", fit_density=0.1)
    folder = write(tmp_path / "c", pd.concat([rows, shared], ignore_index=True))
    render(folder)
    assert f"{0.78 / 0.58:.2f} ({0.78 / 0.58:.2f})" in page(folder)
