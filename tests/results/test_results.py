"""Tests of results/load.py and the notebooks on the run that SALEBENCH_TEST_RUN names."""

from __future__ import annotations

import os
import re
import shutil
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
import plotting  # noqa: E402

TABLES = ("cells", "heads", "samples", "problems")


@pytest.fixture(scope="module")
def run_path() -> Path:
    folder = os.environ.get("SALEBENCH_TEST_RUN")
    if not folder:
        pytest.skip("SALEBENCH_TEST_RUN names no run")
    return results.run_file(folder).resolve()


@pytest.fixture(scope="module")
def run(run_path) -> results.Run:
    return results.load(run_path)


def schema_columns() -> dict[str, list[str]]:
    """The columns by table, as results/README.md has them of the program."""
    page = (ROOT / "results" / "README.md").read_text(encoding="utf-8")
    parts = [part for part in page.split("### `/")[1:] if not part.startswith("calibration")]
    return {part.split("`")[0]: re.findall(r"^\| `(\w+)` \|", part, re.MULTILINE) for part in parts}


def test_frames_have_the_columns_of_the_schema(run):
    assert set(schema_columns()) == set(TABLES)
    for table, names in schema_columns().items():
        assert sorted(getattr(run, table).columns) == sorted(names), table


def test_row_counts_agree(run):
    assert list(run.cells.cell) == list(range(len(run.cells)))
    assert run.cells.id.is_unique
    tried = results.ok(run.cells)
    assert (run.heads.groupby("cell").size().reindex(tried.cell) == tried.set_index("cell").q_heads).all()
    timed = results.timed(run.cells).set_index("cell")
    for phase, rows in run.samples.groupby("phase"):
        has_phase = timed.select_s.notna() if phase == "select" else timed.total_s.notna()
        counts = rows.groupby("cell").size().reindex(timed.index, fill_value=0)
        assert (counts == timed.samples.where(has_phase, 0)).all(), phase
    assert not run.problems.duplicated(["path", "id"]).any()
    assert set(zip(tried.dataset, tried.problem)) <= set(zip(run.problems.path, run.problems.id))


def test_types(run):
    for name in ("cell", "kv_len", "q_heads", "converged", "timing_usable", "samples"):
        assert run.cells[name].dtype == np.int64, name
    for name in ("density", "recall_mean", "rel_l2", "total_s", "speedup"):
        assert run.cells[name].dtype == np.float64, name
    for name in ("id", "method", "params", "status", "reason"):
        assert run.cells[name].map(type).eq(str).all(), name
    assert isinstance(run.provenance, dict) and run.provenance["program"]
    assert run.run and run.created_utc and run.config_yaml


def test_values_are_consistent(run):
    tried, timed = results.ok(run.cells), results.timed(run.cells)
    assert tried.recall_mean.between(0, 1 + 1e-9).all() and tried.density.between(0, 1).all()
    assert (timed.total_lo_s <= timed.total_s).all() and (timed.total_s <= timed.total_hi_s).all()
    sums = run.samples[run.samples.phase != "dense"].groupby(["cell", "sample"]).seconds.sum()
    assert np.allclose(sums.groupby("cell").median().reindex(timed.cell), timed.total_s, rtol=1e-9)


def test_folder_and_file_load_the_same(run_path, run):
    pd.testing.assert_frame_equal(results.load(run_path.parent).cells, run.cells)


def test_foreign_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="not a result file"):
        results.load(tmp_path)


def test_plain_h5py_and_pandas(run_path, run):
    with h5py.File(run_path) as file:
        assert file.attrs["format"] == "salebench.results" and file.attrs["format_version"] == 1
        for table in TABLES:
            lengths = {column.shape for column in file[table].values()}
            assert lengths == {(len(getattr(run, table)),)}, table
        assert file["cells/total_s"].attrs["units"] == "s"
        assert file["cells/total_s"].attrs["long_name"]
        frame = pd.DataFrame({name: file["cells"][name][:] for name in ("cell", "kv_len", "density", "total_s")})
    assert frame.density.equals(run.cells.density)


@pytest.mark.parametrize("table", TABLES)
def test_xarray(run_path, run, table):
    xarray = pytest.importorskip("xarray")
    with xarray.open_dataset(run_path, group=table, engine="h5netcdf") as data:
        scale = "cell" if table == "cells" else "row"
        assert dict(data.sizes) == {scale: len(getattr(run, table))}
        assert set(data.variables) - {"row"} == set(getattr(run, table).columns)
        if table == "cells":
            assert np.array_equal(data.total_s.values, run.cells.total_s, equal_nan=True)
            assert data.total_s.attrs["units"] == "s"


def causal_tiles(cell: pd.Series, mask: np.ndarray, block_q: int, block_k: int) -> np.ndarray:
    """The tiles that a causal query block may see, bool [q_blocks, k_blocks]."""
    last_row = np.minimum((np.arange(mask.shape[1]) + 1) * block_q, cell.q_len) - 1
    last_key = last_row + cell.kv_len - cell.q_len
    return np.arange(mask.shape[2])[None, :] <= (last_key // block_k)[:, None]


def test_masks(run_path, run):
    with h5py.File(run_path) as file:
        blocks = {
            cell_id: (int(group["bits"].attrs["block_q"]), int(group["bits"].attrs["block_k"]))
            for cell_id, group in file.get("masks", {}).items()
        }
    if not blocks:
        pytest.skip("the run has no masks")
    cells = run.cells.set_index("id")
    dense = 0
    for cell_id, (block_q, block_k) in blocks.items():
        cell, mask = cells.loc[cell_id], results.masks(run, cell_id)
        assert mask.dtype == bool
        assert mask.shape == (cell.q_heads, -(-cell.q_len // block_q), -(-cell.kv_len // block_k))
        causal = causal_tiles(cell, mask, block_q, block_k)
        assert not (mask & ~causal).any(), cell_id
        assert mask.sum() / (cell.q_heads * causal.sum()) == pytest.approx(cell.tile_density, abs=1e-12), cell_id
        by_head = run.heads[run.heads.cell == cell.cell].sort_values("head").tile_density
        assert np.allclose(mask.sum(axis=(1, 2)) / causal.sum(), by_head), cell_id
        if cell.method == "dense":
            dense += 1
            assert (mask == causal).all()
    assert dense or "dense" not in set(cells.method)


def test_masks_of_an_unknown_cell(run):
    with pytest.raises(KeyError):
        results.masks(run, "no-such-cell")


def test_bit_order(tmp_path, run):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        bits = file.create_dataset("masks/a/bits", data=np.array([[[1 << 31 | 1, 2]]], np.uint32))
        bits.attrs["k_blocks"] = 40
    mask = results.masks(results.Run(**{**vars(run), "path": tmp_path / "run.h5"}), "a")
    assert mask.shape == (1, 1, 40) and list(np.flatnonzero(mask)) == [0, 31, 33]


def cells_frame(**columns) -> pd.DataFrame:
    """Cells of one place, ok and timed, of method a unless told."""
    rows = len(next(iter(columns.values())))
    fixed = {"dataset": "d.h5", "problem": "p", "kv_len": 64, "repeat": 1, "backend": "cpu", "method": "a",
             "role": "method", "status": "ok", "timing_usable": 1, "params": "{}"}  # fmt: skip
    return pd.DataFrame({**{name: [value] * rows for name, value in fixed.items()}, **columns})


def test_pareto():
    frame = pd.DataFrame({"x": [1, 2, 3, 3, 4, np.nan], "y": [0.5, 0.9, 0.8, 0.95, 0.95, 1]}, index=list("abcdef"))
    assert list(results.pareto(frame, "x", "y")) == [True, True, False, True, False, False]
    assert list(results.pareto(frame, "x", "y", larger_y=False)) == [True, False, False, False, False, False]
    assert list(results.pareto(frame, "x", "y").index) == list("abcdef")
    twins = pd.DataFrame({"x": [1, 1], "y": [1, 1]})
    assert results.pareto(twins, "x", "y").all()
    assert results.pareto(frame[:0], "x", "y").empty


def test_at_recall():
    frame = cells_frame(
        method=["a", "a", "a", "b", "b", "oracle", "c"],
        role=["method"] * 5 + ["oracle", "method"],
        recall_mean=[0.90, 0.96, 0.99, 0.97, 0.98, 0.99, 0.99],
        total_s=[1.0, 2.0, 3.0, 1.6, 1.5, 0.1, 0.2],
        status=["ok"] * 6 + ["incorrect"],
    )
    assert list(results.at_recall(frame, 0.95).index) == [4, 1]
    assert list(results.at_recall(frame, 0.985).index) == [2]
    assert results.at_recall(frame, 0.999).empty
    assert results.at_recall(frame.assign(timing_usable=0), 0.5).empty
    longer = pd.concat([frame, frame.assign(kv_len=128)], ignore_index=True)
    assert list(results.at_recall(longer, 0.985).kv_len) == [64, 128]


def test_params_and_series():
    frame = cells_frame(params=['{"t":"0.1","block":"64x64","sink":"1"}', '{"t":"0.01","block":"64x64","sink":"1"}',
                                '{"t":"0.1","block":"64x32","sink":"1"}'])  # fmt: skip
    columns = results.params(frame)
    assert columns.t.dtype == np.float64 and list(columns.t) == [0.1, 0.01, 0.1]
    assert list(columns.block) == ["64x64", "64x64", "64x32"]
    lines = list(results.series(frame))
    assert [line.label for line in lines] == ["a block=64x32", "a block=64x64"]
    assert lines[1].axis == "t" and list(lines[1].rows.value) == [0.01, 0.1]
    (single,) = results.series(frame[:1])
    assert single.label == "a" and single.axis == ""


def test_styles_are_stable_and_distinct():
    many = plotting.method_styles(["sale", "xyz", "abc"])
    assert many["sale"] == plotting.method_styles(["sale"])["sale"]
    assert len(set(many.values())) == len(many)


def test_file_names_of_labels():
    names = plotting.slugs(["q x4 cuda/0", "p[0]", "p(0)", "p_0_", "p_0_-2", "p[0]"])
    assert names["q x4 cuda/0"] == "q_x4_cuda_0"
    assert len(set(names.values())) == 5 and all(name.replace("-", "_").isidentifier() for name in names.values())
    long = plotting.slugs(["x" * 300 + "a", "x" * 300 + "b"])
    assert len(set(long.values())) == 2 and max(map(len, long.values())) < 130


def test_environment_line(run):
    line = results.environment_line(run)
    assert run.created_utc[:10] in line and "thread" in line


def render(run: Path, out: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "notebooks" / "render.py"), str(run), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True)


def check_rendered(done: subprocess.CompletedProcess, out: Path) -> list[str]:
    """Checks what render.py left and returns the names of the plots."""
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for name in ("pareto", "latency"):
        assert "<html" in (out / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
    plots = sorted((out / "plots").glob("*.png"))
    assert all(file.stat().st_size > 10_000 and file.with_suffix(".pdf").exists() for file in plots)
    assert all(str(file) in done.stdout for file in plots)
    return [file.name for file in plots]


def keep_cells(path: Path, keep: np.ndarray) -> None:
    """Drops the cells outside `keep`, and their heads and samples, from a run.h5."""
    with h5py.File(path, "r+") as file:
        kept = file["cells/cell"][:][keep]
        for table in ("cells", "heads", "samples"):
            rows = np.isin(file[table]["cell"][:], kept)
            columns = {name: column[:][rows] for name, column in file[table].items()}
            texts = {name for name, column in file[table].items() if h5py.check_string_dtype(column.dtype)}
            del file[table]
            for name, column in columns.items():
                kind = h5py.string_dtype() if name in texts else None
                file.create_dataset(f"{table}/{name}", data=column, dtype=kind)


def fail_cells(path: Path, rows: np.ndarray, status: str, reason: str) -> None:
    """Makes cells of a run.h5 look failed: no accuracy and no times."""
    with h5py.File(path, "r+") as file:
        cells = file["cells"]
        for row in rows:
            cells["status"][row], cells["reason"][row], cells["timing_usable"][row] = status, reason, 0
            for name, column in cells.items():
                if column.dtype == np.float64:
                    column[row] = np.nan


@pytest.fixture
def copy(run_path, tmp_path) -> Path:
    (tmp_path / "run").mkdir()
    return Path(shutil.copy(run_path, tmp_path / "run" / "run.h5"))


def test_notebooks(run_path, run, tmp_path):
    plots = check_rendered(render(run_path.parent, tmp_path), tmp_path)
    for name in plotting.slugs(results.place_label(results.timed(run.cells))).values():
        assert f"pareto_{name}.png" in plots
        assert f"latency_length_{name}.png" in plots
    assert {"latency_shares.png", "latency_noise.png"} <= set(plots)


def test_notebooks_with_failed_cells_and_one_length(copy, run, tmp_path):
    keep_cells(copy, (run.cells.kv_len == run.cells.kv_len.min()).to_numpy())
    cells = results.load(copy).cells
    fail_cells(copy, np.flatnonzero(cells.method == "sale"), "unsupported", "head_dim 64 is not supported")
    fail_cells(copy, np.flatnonzero(cells.role == "oracle")[:2], "timeout", "longer than 120 s")
    failed = results.failures(results.load(copy).cells)
    assert failed.cells.sum() == (results.load(copy).cells.status != "ok").sum() > 0
    check_rendered(render(copy, tmp_path / "out"), tmp_path / "out")
    for name in ("pareto", "latency"):
        assert "cells failed" in (tmp_path / "out" / "notebooks" / f"{name}.html").read_text(encoding="utf-8")


def test_notebooks_without_times_or_methods(copy, run, tmp_path):
    """A quick run whose first problem has the baseline only."""
    problem = run.cells.problem.iloc[0]
    keep_cells(copy, ((run.cells.problem != problem) | (run.cells.role == "baseline")).to_numpy())
    with h5py.File(copy, "r+") as file:
        file["cells/timing_usable"][:] = 0
    check_rendered(render(copy, tmp_path / "out"), tmp_path / "out")


def test_notebooks_with_nothing_measured(copy, run, tmp_path):
    fail_cells(copy, np.arange(len(run.cells)), "error", "no kernel")
    assert check_rendered(render(copy, tmp_path / "out"), tmp_path / "out") == []


def test_render_names_a_missing_run(tmp_path):
    done = render(tmp_path / "nothing", tmp_path / "out")
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and "nothing" in done.stderr
