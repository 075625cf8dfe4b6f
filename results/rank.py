"""Which method is fastest at equal quality, over all problems of a run: what `salebench report --rank` says, as a frame.

    import load, rank
    rank.rank(load.load("runs/first").cells, at_error=0.05)
"""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

import load

DRAWS, LOW, HIGH = 1000, 25, 974  # of ordered draws, the ends of 95 %
ROUND_BITS, PROBLEM_BITS = 8, 24  # of a draw's number
KINDS = ["rival", "attention only", "oracle"]
SETUP = ["repeat", "backend", *load.SETUP]


def rank(cells: pd.DataFrame, *, at_error: float | None = None, at_recall: float | None = None, each_head: bool = False,
         slack: float = 0.0, by: str | None = None, interpolate: bool = False) -> pd.DataFrame:
    """A row a method (of each part, with by = "layer", "length" or "dataset"): how many problems some setting reaches the
    target at, and the geometric mean of the fastest such settings' speedup, a miss as 1, with a 95 % bootstrap interval.
    The target is a mean recall or a relative L2 error of the output, with each_head of every head. results/rank.h says
    what the columns mean."""
    if (at_error is None) == (at_recall is None):
        raise ValueError("name a target: at_error or at_recall")
    target = Target(at_recall, at_error, each_head, slack)
    cells = cells.assign(method=load.names(cells))
    cells = cells.assign(_problem=_problem_keys(cells), _kind=_kinds(cells), _part=_parts(cells, by))
    cells = cells.assign(**{name: "" for name in ("backend", "knob", "params") if name not in cells})
    settings = load.timed(cells).dropna(subset=["speedup", "total_s"])
    settings = settings.assign(_rounds=_speedups_of_rounds(cells).reindex(settings.index))
    names = [name for name in SETUP if name in cells]
    texts = cells[names].astype(str).replace("0", "")
    labels, rows = _setup_labels(cells), []
    for first in texts.loc[settings.index].drop_duplicates().index:
        setup = texts.loc[first]
        alike = ((texts == setup) | (texts == "")).all(axis=1)
        for part in sorted(cells._part[alike].unique()):
            here = cells[alike & (cells._part == part)]
            timed = settings[settings.index.isin(here.index) & (texts.loc[settings.index] == setup).all(axis=1)]
            found = [_row(here, timed, target, interpolate, kind, method)
                     for kind, method in here[["_kind", "method"]].drop_duplicates().sort_values(["_kind", "method"]).values]
            masked = {row["method"] for row in found if row["kind"] == 1}
            found = [r for r in found
                     if r["kind"] or r["reached"] or not np.isnan(r["missed_by"]) or r["method"] not in masked]
            found.sort(key=lambda row: _order(row, target))
            rows += [{"setup": labels[first], "part": part[1], **row, "kind": KINDS[row["kind"]]} for row in found]
    return pd.DataFrame(rows)


class Target:
    def __init__(self, recall: float | None, error: float | None, each_head: bool, slack: float):
        self.of_recall = recall is not None
        self.value = recall if recall is not None else error
        self.slack = slack
        self.error = "rel_l2_worst" if each_head else "rel_l2"
        self.column = "recall_mean" if self.of_recall else self.error

    def badness(self, figure):
        """1 - recall, or the error."""
        return 1 - figure if self.of_recall else figure

    def reached(self, figure):
        return self.badness(figure) <= self.badness(self.value) * (1 + self.slack)


def _problem_keys(cells: pd.DataFrame) -> pd.Series:
    return pd.Series([str(key) for key in zip(load.place_keys(cells)[0], cells.problem, cells.kv_len)], cells.index)


def _kinds(cells: pd.DataFrame) -> pd.Series:
    return load.untimed_selection(cells).astype(int).mask(cells.role == "oracle", 2)


def _parts(cells: pd.DataFrame, by: str | None) -> list[tuple[float, str]]:
    if by == "layer":
        return [(layer, f"layer {layer}" if layer >= 0 else "layer unknown") for layer in cells.layer]
    if by == "length":
        return [(length, str(length)) for length in cells.kv_len]
    if by == "dataset":
        short = load.dataset_labels(cells, cells.dataset.unique())
        return [(0, short[path]) for path in cells.dataset]
    return [(0, "")] * len(cells)


def _setup_labels(cells: pd.DataFrame) -> pd.Series:
    """How each cell was measured, where the cells differ in it."""
    label = pd.Series("", cells.index)
    for name in SETUP:
        if name not in cells or cells[name][cells[name].astype(bool)].nunique() < 2:
            continue
        before, after = ("x", "") if name == "repeat" else ("", " threads" if name == "threads" else "")
        label += cells[name].map(lambda value, b=before, a=after: f" {b}{value}{a}" if value else "")
    return label.str.strip()


def _speedups_of_rounds(cells: pd.DataFrame) -> pd.Series:
    """Of each timed setting, at its first cell."""
    rows = load.usable(cells)
    same = rows.groupby(load.setting_numbers(cells)[rows.index], sort=False)
    return pd.Series({group.index[0]: list(group.speedup.dropna()) for _, group in same}, dtype=object)


def _row(cells, settings, target: Target, interpolate: bool, kind: int, method: str) -> dict:
    problems = list(dict.fromkeys(cells._problem))
    own = settings[(settings._kind == kind) & (settings.method == method)].assign(_between=False)
    if interpolate:
        made = [row for _, group in own.groupby("_problem", sort=False) for row in _between(group, target)]
        own = pd.concat([own, pd.DataFrame(made)]) if made else own
    good = own[target.reached(own[target.column])].dropna(subset=["total_s"]).reset_index(drop=True)
    best = good.loc[good.groupby("_problem").total_s.idxmin()].set_index("_problem")
    rounds = [best._rounds[p] if p in best.index else [1.0] for p in problems]
    speedup = [best.speedup[p] if p in best.index else 1.0 for p in problems]
    tried = cells[(cells.status == "ok") & (cells.method == method) & (cells._kind == kind)]
    missed = tried[~tried._problem.isin(best.index)].groupby("_problem")[target.column].agg("max" if target.of_recall else "min")
    missed = missed[~target.reached(missed)]
    baselines = set(cells.method[cells.role == "baseline"]) if "role" in cells else set()
    row = {"method": method, "kind": kind, "is_baseline": method in baselines, "problems": len(problems), "reached": len(best),
           "interpolated": int(best._between.sum()), "doubtful": int(load.in_doubt(best).sum()), "speedup": 1.0, "speedup_lo": np.nan, "speedup_hi": np.nan,
           "speedup_reached": np.nan, "density": np.nan, "recall": best.recall_mean.min(), "error": best[target.error].max(),
           "select_share": np.nan, "missed_by": missed.min() if target.of_recall else missed.max()}  # fmt: skip
    if len(best) == 0:
        return row
    one = len(problems) == 1 and len(rounds[0]) == 1
    low, high = (best.speedup_lo.iloc[0], best.speedup_hi.iloc[0]) if one else interval(rounds)
    return row | {"speedup": geometric_mean(speedup), "speedup_lo": low, "speedup_hi": high, "density": best.density.mean(),
                  "speedup_reached": geometric_mean(best.speedup), "select_share": (best.select_s / best.total_s).mean()}


def _order(row: dict, target: Target) -> tuple:
    missed = target.badness(row["missed_by"])
    return (row["kind"], row["reached"] == 0, -row["speedup"] if row["reached"] else 0.0,
            np.inf if np.isnan(missed) or row["reached"] else missed, row["method"])


def _between(settings: pd.DataFrame, target: Target) -> list[dict]:
    """Between settings that differ in the knob alone, one of which misses: where the figure is just the target."""
    lines: dict[str, dict[float, dict]] = {}
    for row in settings.to_dict("records"):
        params = json.loads(row["params"] or "{}")
        value = params.pop(row["knob"], None) if isinstance(params, dict) else None
        if isinstance(value, (int, float)):
            lines.setdefault(json.dumps(params, sort_keys=True), {}).setdefault(value, row)
    made = []
    for line in lines.values():
        ordered = [line[value] for value in sorted(line)]
        for pair in zip(ordered, ordered[1:]):
            good, bad = sorted(pair, key=lambda row: not target.reached(row[target.column]))
            reached, limit = [target.reached(row[target.column]) for row in (good, bad)], target.badness(target.value)
            with np.errstate(divide="ignore", invalid="ignore"):
                start, end = (np.log(np.divide(target.badness(row[target.column]), limit)) for row in (good, bad))
            if reached != [True, False] or not (np.isfinite([start, end]).all() and start < 0 < end):
                continue
            share = -start / (end - start)
            mixed = {name: np.exp((1 - share) * np.log(good[name]) + share * np.log(bad[name]))
                     for name in ("total_s", "speedup", "select_s", "density")}
            blank = dict.fromkeys(["recall_mean", "rel_l2", "rel_l2_worst", "speedup_lo", "speedup_hi"], np.nan)
            made.append(good | mixed | blank | {target.column: target.value, "_rounds": [mixed["speedup"]], "_between": True})
    return made


def geometric_mean(values) -> float:
    return float(np.exp(np.mean(np.log(values))))


def interval(speedups: list[list[float]]) -> tuple[float, float]:
    """95 % bootstrap interval of the geometric mean of medians over rounds, over problems and the rounds within each, by
    the draws of results/statistics.cpp."""
    counts = np.array([len(rounds) for rounds in speedups])
    padded = np.full((len(speedups), counts.max()), np.inf)
    for i, rounds in enumerate(speedups):
        padded[i, : len(rounds)] = rounds
    numbers, each = np.arange(len(speedups), dtype=np.uint64), np.arange(padded.shape[1], dtype=np.uint64)
    draws = np.arange(DRAWS, dtype=np.uint64)[:, None]
    first = (draws << np.uint64(PROBLEM_BITS) | numbers) << np.uint64(ROUND_BITS)
    chosen = _drawn(first, np.full(first.shape, len(speedups)))
    drawn = counts[chosen]  # how many rounds each drawn problem has
    values = padded[chosen[..., None], _drawn(first[..., None] + np.uint64(1) + each, drawn[..., None])]
    values = np.sort(np.where(each < drawn[..., None], values, np.inf), axis=-1)
    low, high = (np.take_along_axis(values, middle[..., None], axis=-1)[..., 0] for middle in ((drawn - 1) // 2, drawn // 2))
    means = np.sort(np.exp(np.log((low + high) / 2).mean(axis=1)))
    return float(means[LOW]), float(means[HIGH])


def _drawn(numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A hash of the number of a draw (SplitMix64), as an index below its count."""
    with np.errstate(over="ignore"):
        x = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        return (((x >> np.uint64(32)) * counts.astype(np.uint64)) >> np.uint64(32)).astype(int)
