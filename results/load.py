"""Loads a run.h5 of SALEbench into pandas frames, with the helpers that the notebooks share."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from places import (SETUP, attention_text, dataset_labels, names, param_label, place_keys, place_label,  # noqa: F401
                    settings_label, short_paths)

FORMAT = "salebench.results"
FORMAT_VERSION = 1
TIMES = ["select_s", "index_s", "attend_s", "total_s", "total_lo_s", "total_hi_s", "dense_s",
         "speedup", "speedup_lo", "speedup_hi", "noise"]  # fmt: skip

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
    labels = (rows.method + " " + settings_label(rows)).str.strip()
    for name in ("scope", "search"):
        if rows[name].nunique() > 1:
            labels += " (" + rows[name] + ")"
    return labels


def scan_share(rows: pd.DataFrame) -> pd.Series:
    """Of all products of queries and keys, what a scan of `sale` or `sale_pooled` multiplies; NaN if heads differ."""
    def share(text: str) -> float:
        values = json.loads(text)
        channels = Fraction(values["channels"]) if values.get("channels", "all") != "all" else 1
        return float(channels) / math.prod(int(values.get(name, 1)) for name in ("row_pool", "key_pool", "row_stride"))
    return rows.params.map(share).mask(rows.settings.str.endswith("heads choose") | rows.reason.str.contains("scans of"))


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


def in_doubt(cells: pd.DataFrame) -> pd.Series:
    """Whether the times of each cell, or setting, say little: measured on a busy machine, or not converged."""
    doubt = cells.timing_usable == 1 if "timing_usable" in cells else pd.Series(True, cells.index)
    noisy = cells.converged == 0 if "converged" in cells else pd.Series(False, cells.index)
    return doubt & (noisy | (cells.busy == 1 if "busy" in cells else False))


def setting_numbers(cells: pd.DataFrame) -> pd.Series:
    """A number for the rounds of a cell; one that has a round of the same number already is another measurement."""
    keys = [*place_keys(cells), cells.method, cells.params]
    rounds = cells.get("round", pd.Series(0, cells.index))
    again = cells.groupby([*keys, rounds], sort=False, dropna=False).cumcount()
    return cells.groupby([*keys, again], sort=False, dropna=False).ngroup()


def timed(cells: pd.DataFrame) -> pd.DataFrame:
    """The cells with valid times. Rounds of the same cell become one row with the medians of their times; `rounds` says
    how many they are. It has converged if all have, and was busy if any was."""
    rows = usable(cells)
    same = rows.groupby(setting_numbers(cells)[rows.index], sort=False)
    merged = {name: same[name].transform("median") for name in TIMES if name in rows}
    merged |= {name: same[name].transform(how) for name, how in (("converged", "min"), ("busy", "max")) if name in rows}
    return rows.assign(**merged, rounds=same.cumcount(ascending=False) + 1)[same.cumcount() == 0]


def measured(cells: pd.DataFrame) -> pd.DataFrame:
    """All ok cells, each setting once: as in timed(), or without times where no round has usable ones."""
    rows, times, setting = ok(cells), timed(cells), setting_numbers(cells)
    rest = setting[rows.index].drop_duplicates()
    rest = rest[~rest.isin(setting[times.index])].index
    merged = rows.loc[times.index.union(rest)].assign(**dict.fromkeys(TIMES, np.nan), rounds=0)
    merged.loc[times.index, times.columns] = times
    return merged


def failures(cells: pd.DataFrame) -> pd.DataFrame:
    """Number of cells that are not ok, by method, status and reason."""
    return cells[cells.status != "ok"].groupby(["method", "status", "reason"]).size().rename("cells").reset_index()


def params(cells: pd.DataFrame) -> pd.DataFrame:
    """The parameters as columns, numbers where all values are numbers; missing where a method lacks the parameter."""
    frame = pd.DataFrame([json.loads(text or "{}") for text in cells.params], index=cells.index)
    for name in frame:
        numbers = pd.to_numeric(frame[name], errors="coerce")
        if numbers.notna().equals(frame[name].notna()):
            frame[name] = numbers
    return frame


def series(cells: pd.DataFrame) -> Iterator[Series]:
    """Splits cells of one place into lines: methods by name, then oracles. The baseline is left out. A line follows the
    method's knob if that varies, else the numeric parameter with the most values."""
    rivals = cells[cells.role != "baseline"]
    for (role, method), rows in rivals.groupby([rivals.role, names(rivals)]):
        columns = params(rows)
        varying = [name for name in columns if columns[name].nunique() > 1]
        numeric = [name for name in varying if pd.api.types.is_numeric_dtype(columns[name])]
        knobs = set(rows.knob) if "knob" in rows else set()
        axis = max(numeric, key=lambda name: (name in knobs, columns[name].nunique()), default="")
        rest = [name for name in varying if name != axis]
        texts = pd.DataFrame({name: param_label(columns[name]) for name in rest}, index=rows.index)
        for number, (key, group) in enumerate(texts.groupby(rest, dropna=False) if rest else [((), columns)]):
            label = " ".join([method, *(f"{name}={value}" for name, value in zip(rest, key))])
            label += " (attention only)" * bool(untimed_selection(rows.loc[group.index]).any())
            line = rows.loc[group.index].assign(value=columns[axis][group.index] if axis else np.nan)
            yield Series(method, role, label, number, axis, line.sort_values("value"))


def pareto(frame: pd.DataFrame, x: str, y: str, larger_y: bool = True) -> pd.Series:
    """True for rows that no other beats: smaller x, and larger (or smaller) y. Rows without a value are False."""
    a = frame[x].to_numpy(float)
    b = frame[y].to_numpy(float) * (-1 if larger_y else 1)
    no_worse = (a[None, :] <= a[:, None]) & (b[None, :] <= b[:, None])
    better = (a[None, :] < a[:, None]) | (b[None, :] < b[:, None])
    return pd.Series(~(no_worse & better).any(axis=1) & ~np.isnan(a) & ~np.isnan(b), index=frame.index)


def untimed_selection(cells: pd.DataFrame) -> pd.Series:
    """Whether the times of each cell leave out its selection, as its mask was made on another backend."""
    where = cells.get("selected_on", pd.Series("", cells.index)).fillna("")
    return (where != "") & (where != cells.backend)


def at_recall(cells: pd.DataFrame, recall: float) -> pd.DataFrame:
    """The fastest setting of each method at each place with at least this mean recall, as `salebench report` says it:
    oracles, settings without usable times and those with an untimed selection take no part. Of those that don't attend
    exactly it is one apart: recall is of the mask."""
    rows = timed(cells).dropna(subset=["total_s"]).query("recall_mean >= @recall and role != 'oracle'")
    rows = rows[~untimed_selection(rows)]
    exactly = rows.get("attend_rel_l2", pd.Series(np.nan, rows.index)).isna()
    rows = rows.loc[rows.groupby([*place_keys(rows), names(rows), exactly], dropna=False).total_s.idxmin()]
    order = pd.DataFrame({"label": place_label(cells)[rows.index], "kv_len": rows.kv_len, "total_s": rows.total_s})
    return rows.loc[order.sort_values(list(order), kind="stable").index]


def busy_remark(cells: pd.DataFrame) -> str:
    """A sentence for captions where cells with times were measured beside other work; else empty."""
    rows = usable(cells)
    busy = (rows.busy == 1).sum() if "busy" in rows else 0
    return f"{busy} of {len(rows)} timed cells were measured on a busy machine: their times don't compare." * bool(busy)


def notes(run: Run) -> str:
    """The notes that the cells of a run were made with, else that of the run."""
    return "; ".join(sorted(set(run.cells.note) - {""}) if "note" in run.cells else []) or run.note


def environment_line(run: Run) -> str:
    """CPUs or GPUs, threads, SIMD, commits and date of a run, for captions; all of them where its cells differ."""
    return _environment(run.provenance, run.cells, run.created_utc)


def calibration_environment(path: str | Path) -> str:
    """The same of a calibration, from its folder or its calibration.h5."""
    path = Path(path)
    with h5py.File(path / "calibration.h5" if path.is_dir() else path) as file:
        provenance = json.loads(file.attrs.get("provenance") or "{}")
        return _environment(provenance, calibration(path), str(file.attrs.get("created_utc", "")))


def _environment(provenance: dict, rows: pd.DataFrame, created_utc: str) -> str:
    def of_cells(name: str, otherwise: str = "") -> str:
        return " and ".join(sorted(set(rows[name]) - {""})) if name in rows and rows[name].any() else otherwise
    host, program = provenance.get("host", {}), provenance.get("program", {})
    threads = "/".join(str(n) for n in sorted(rows.threads.unique()))
    cpu, simd = of_cells("host", host.get("cpu", "unknown CPU")), of_cells("simd", host.get("simd", ""))
    parts = [cpu, f"{threads} CPU threads", simd]
    if "backend" in rows and (rows.backend == "cuda").any():
        devices = [d["name"] for d in provenance.get("cuda", {}).get("devices", [])]
        parts = [of_cells("device", ", ".join(devices)), *parts]
    commits = of_cells("git_sha", program.get("git", ""))
    parts += [f"commit {commits}" if commits else "", created_utc[:10]]
    return ", ".join(part for part in parts if part)
