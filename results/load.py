"""Loads a run.h5 of SALEbench into pandas frames, with the helpers that the notebooks share."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

FORMAT = "salebench.results"
FORMAT_VERSION = 1
PLACE = ["dataset", "problem", "kv_len", "repeat", "backend"]  # cells that agree in these compete with each other

TIMES = ["select_s", "index_s", "attend_s", "total_s", "total_lo_s", "total_hi_s", "dense_s", "speedup", "speedup_lo",
         "speedup_hi"]  # fmt: skip

PLOT_STYLE = {
    "font.family": "sans-serif", "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "lines.linewidth": 1.1, "lines.markersize": 4.5,
    "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "0.9", "grid.linewidth": 0.5, "legend.frameon": False,
    "figure.dpi": 130, "figure.constrained_layout.use": True, "savefig.dpi": 300, "pdf.fonttype": 42,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One run: its tables as frames and its attributes. results/schema.cpp tells what each column means."""

    path: Path
    cells: pd.DataFrame
    heads: pd.DataFrame
    samples: pd.DataFrame
    problems: pd.DataFrame
    run: str
    created_utc: str
    argv: str
    config_yaml: str
    note: str
    provenance: dict


@dataclass(frozen=True)
class Style:
    """Colour and marker of a method, the same in all plots."""

    color: str
    marker: str


@dataclass(frozen=True)
class Series:
    """The settings of a method that differ in one parameter only: a line in a plot."""

    method: str
    role: str
    label: str  # the method, with the other parameters that vary
    number: int  # of this line among those of the method, from 0
    axis: str  # the parameter that varies along the line; "" if none does
    rows: pd.DataFrame  # cells, sorted by `value`, the value of that parameter


def run_file(path: str | Path) -> Path:
    """The run.h5 meant by a run folder or by the file itself."""
    path = Path(path)
    return path / "run.h5" if path.is_dir() else path


def load(path: str | Path) -> Run:
    """Reads a run from its folder or its run.h5."""
    path = run_file(path)
    with h5py.File(path) as file:
        attributes = dict(file.attrs)
        if attributes.get("format") != FORMAT:
            raise ValueError(f"{path} is not a result file of salebench")
        _check_version(path, attributes)
        frames = {name: _frame(file[name]) for name in ("cells", "heads", "samples", "problems")}
    texts = {name: str(attributes.get(name, "")) for name in ("run", "created_utc", "argv", "config_yaml", "note")}
    return Run(path=path, **frames, **texts, provenance=json.loads(attributes.get("provenance") or "{}"))


def _check_version(path: Path, attributes: Mapping) -> None:
    if int(attributes["format_version"]) > FORMAT_VERSION:
        raise ValueError(f"{path} has format version {attributes['format_version']}, newer than {FORMAT_VERSION}")


def _frame(group: h5py.Group) -> pd.DataFrame:
    """The columns of a table; its numbering of the rows, where it is no column of its own, becomes the index."""
    columns = {name: c.asstr()[:] if h5py.check_string_dtype(c.dtype) else c[:] for name, c in group.items()}
    frame = pd.DataFrame(columns)
    return frame.set_index("row") if "row" in columns else frame


def calibration(path: str | Path) -> pd.DataFrame:
    """The table of a calibration, from its folder or its calibration.h5: a row for each setting, target, problem and
    head; head -1 is the problem as a whole."""
    path = Path(path)
    path = path / "calibration.h5" if path.is_dir() else path
    with h5py.File(path) as file:
        if file.attrs.get("format") != "salebench.calibration":
            raise ValueError(f"{path} is not a calibration of salebench")
        _check_version(path, file.attrs)
        return _frame(file["calibration"])


def calibration_labels(rows: pd.DataFrame) -> pd.Series:
    """Method and settings, with scope and search where the table has several of them."""
    labels = (rows.method + " " + rows.settings).str.strip()
    for name in ("scope", "search"):
        if rows[name].nunique() > 1:
            labels += " (" + rows[name] + ")"
    return labels


def scan_share(rows: pd.DataFrame) -> pd.Series:
    """Of the products of all queries and keys, the share that a scan of `sale` or `sale_pooled` multiplies."""
    def share(text: str) -> float:
        values = json.loads(text)
        channels = Fraction(values["channels"]) if values.get("channels", "all") != "all" else 1
        return float(channels) / math.prod(int(values.get(name, 1)) for name in ("row_pool", "key_pool", "row_stride"))
    return rows.params.map(share)


def masks(run: Run, cell_id: str) -> np.ndarray:
    """The tiles that a cell keeps, bool [heads, q_blocks, k_blocks]. KeyError if the run has no mask of the cell."""
    with h5py.File(run.path) as file:
        bits = file[f"masks/{cell_id}/bits"]
        words, k_blocks = bits[:].astype("<u4"), int(bits.attrs["k_blocks"])
    return np.unpackbits(words.view(np.uint8), axis=-1, count=k_blocks, bitorder="little").astype(bool)


def ok(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with valid accuracy."""
    return cells[cells.status == "ok"]


def usable(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with valid times, each round of its own."""
    return cells[(cells.status == "ok") & (cells.timing_usable == 1)]


def timed(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with valid times. Rounds of the same cell become one row, with the medians of their times."""
    rows = usable(cells)
    if "round" not in rows or rows["round"].max() == 0 or rows.empty:
        return rows
    same = rows.groupby([*PLACE, "method", "params"], sort=False)
    first = rows.loc[[index[0] for index in same.groups.values()]].copy()
    for name in TIMES:
        first[name] = same[name].transform("median")[first.index]
    return first.sort_index()


def failures(cells: pd.DataFrame) -> pd.DataFrame:
    """Number of cells that are not ok, by method, status and reason."""
    failed = cells[cells.status != "ok"]
    return failed.groupby(["method", "status", "reason"]).size().rename("cells").reset_index()


def params(cells: pd.DataFrame) -> pd.DataFrame:
    """The parameters as columns, numbers where all values are numbers; missing where a method lacks the parameter."""
    frame = pd.DataFrame([json.loads(text or "{}") for text in cells.params], index=cells.index)
    for name in frame:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if numbers.notna().equals(frame[name].notna()):
            frame[name] = numbers
    return frame


def place_label(cells: pd.DataFrame) -> pd.Series:
    """The problem of each cell, for people; names data set, copies and backend only where needed."""
    label = cells.problem.astype(str)
    if cells.dataset.nunique() > 1:
        label = cells.dataset.map(lambda path: Path(path).stem) + " " + label
    label = label + cells["repeat"].map(lambda copies: f" ×{copies}" if copies > 1 else "")
    return label + " " + cells.backend if cells.backend.nunique() > 1 else label


def slug(label: str) -> str:
    """A label as part of a file name."""
    return re.sub(r"[^\w.-]+", "_", label.replace("×", "x"))


def series(cells: pd.DataFrame) -> Iterator[Series]:
    """Splits cells of one place into lines: methods by name, then oracles. The baseline is left out."""
    for (role, method), rows in cells[cells.role != "baseline"].groupby(["role", "method"]):
        columns = params(rows)
        varying = [name for name in columns if columns[name].nunique() > 1]
        numeric = [name for name in varying if pd.api.types.is_numeric_dtype(columns[name])]
        axis = max(numeric, key=lambda name: columns[name].nunique(), default="")
        rest = [name for name in varying if name != axis]
        for number, (key, group) in enumerate(columns.groupby(rest, dropna=False) if rest else [((), columns)]):
            label = " ".join([method, *(f"{name}={value}" for name, value in zip(rest, key))])
            line = rows.loc[group.index].assign(value=group[axis] if axis else np.nan)
            yield Series(method, role, label, number, axis, line.sort_values("value"))


def pareto(frame: pd.DataFrame, x: str, y: str, larger_y: bool = True) -> pd.Series:
    """True for rows that no other beats: smaller x, and larger (or smaller) y. Rows without a value are False."""
    a = frame[x].to_numpy(float)
    b = frame[y].to_numpy(float) * (-1 if larger_y else 1)
    no_worse = (a[None, :] <= a[:, None]) & (b[None, :] <= b[:, None])
    better = (a[None, :] < a[:, None]) | (b[None, :] < b[:, None])
    return pd.Series(~(no_worse & better).any(axis=1) & ~np.isnan(a) & ~np.isnan(b), index=frame.index)


def at_recall(cells: pd.DataFrame, recall: float) -> pd.DataFrame:
    """The fastest setting of each method at each place with at least this mean recall; oracles take no part."""
    rows = timed(cells)
    rows = rows[(rows.recall_mean >= recall) & (rows.role != "oracle")]
    return rows.loc[rows.groupby([*PLACE, "method"]).total_s.idxmin()].sort_values([*PLACE, "total_s"])


def method_styles(methods: Iterable[str]) -> dict[str, Style]:
    """A style for each method: fixed for the usual ones, else the next free of a colour-blind-safe palette."""
    styles = {"dense": Style("#000000", "D"), "oracle_topk": Style("#777777", "x"), "sale": Style("#0072B2", "o"),
              "block_topk": Style("#D55E00", "s"), "streaming": Style("#009E73", "^")}  # fmt: skip
    free = ["#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288", "#AA4499", "#661100"]
    markers = "vP<X>pd*h"
    for i, method in enumerate(sorted(set(methods) - set(styles))):
        styles[method] = Style(free[i % len(free)], markers[i % len(markers)])
    return styles


def environment_line(run: Run) -> str:
    """CPU or GPU, threads, SIMD, commit and date of a run, for captions."""
    return _environment(run.provenance, run.cells, run.created_utc)


def calibration_environment(path: str | Path) -> str:
    """The same of a calibration, from its folder or its calibration.h5."""
    path = Path(path)
    with h5py.File(path / "calibration.h5" if path.is_dir() else path) as file:
        provenance = json.loads(file.attrs.get("provenance") or "{}")
        return _environment(provenance, calibration(path), str(file.attrs.get("created_utc", "")))


def _environment(provenance: dict, rows: pd.DataFrame, created_utc: str) -> str:
    host, program = provenance.get("host", {}), provenance.get("program", {})
    threads = "/".join(str(n) for n in sorted(rows.threads.unique()))
    parts = [host.get("cpu", "unknown CPU"), f"{threads} CPU threads", host.get("simd", "")]
    if "backend" in rows and (rows.backend == "cuda").any():
        parts = [d["name"] for d in provenance.get("cuda", {}).get("devices", [])] + parts
    parts += [f"commit {program['git']}" if "git" in program else "", created_utc[:10]]
    return ", ".join(part for part in parts if part)
