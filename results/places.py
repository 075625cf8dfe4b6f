"""Which cells compete with each other, and what people call them; load.py has it all."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pandas as pd

SETUP = ["device", "threads", "cache", "host", "simd"]  # how a cell was measured
PLACE = ["problem", "kv_len", "repeat", "backend", *SETUP]  # with the values' fingerprint: see place_keys


def place_keys(cells: pd.DataFrame) -> list[pd.Series]:
    """What places differ in, to group by. Cells of one place are of the same values, measured in the same way, and so
    compete with each other. Values are known by their fingerprint, wherever the capture lies; without, by its path."""
    values = cells.get("fingerprint", pd.Series("", cells.index)).fillna("")
    values = values.where(values != "", cells.dataset).rename("values")
    return [values, *(cells[name] for name in PLACE if name in cells)]


def param_label(values: pd.Series) -> pd.Series:
    """Values of a parameter, for people: absolute paths are shortened to what tells them apart."""
    short = short_paths({value for value in values if isinstance(value, str) and value.startswith("/")})
    return values.map(lambda value: short.get(value, value))


def short_paths(paths: Iterable[str]) -> dict[str, str]:
    """The shortest end of each path, in whole names, that no other has: llama/capture.h5. Never an absolute path."""
    names = {path: [name for name in path.split("/") if name not in ("", ".")] for path in paths}
    def short(path: str) -> str:
        rest = [other for other in names if other != path]
        for n in range(1, len(names[path])):
            if all(names[other][-n:] != names[path][-n:] for other in rest):
                return "/".join(names[path][-n:])
        return "/".join(names[path])
    return {path: short(path) for path in names}


def dataset_labels(cells: pd.DataFrame, paths: Iterable[str]) -> dict[str, str]:
    """The captures by path, for people: the config's labels, or short paths."""
    given = dict(zip(cells.dataset, cells.dataset_label.fillna(""))) if "dataset_label" in cells else {}
    return {path: given.get(path) or short for path, short in short_paths(paths).items()}


def names(cells: pd.DataFrame) -> pd.Series:
    """What people call the method of each cell, with its settings: the config's label, or its name."""
    return cells.label.where(cells.label.fillna("") != "", cells.method) if "label" in cells else cells.method


def settings_label(cells: pd.DataFrame) -> pd.Series:
    """The settings of each cell, for people: absolute paths are shortened to what tells them apart."""
    path = re.compile(r"(?<==)/.*?(?= \w+=|$)")
    short = short_paths(sorted({found for text in cells.settings for found in path.findall(text)}))
    return cells.settings.map(lambda text: path.sub(lambda found: short[found[0]], text))


def attention_text(cells: pd.DataFrame) -> pd.Series:
    """How the attention of each cell's problem differs from plain causal attention: "window 512"; empty for plain."""
    def text(row) -> str:
        parts = [] if getattr(row, "causal", 1) else ["not causal"]
        named = {"window": "window", "first_key": "from key", "softcap": "softcap"}
        parts += [f"{word} {getattr(row, name):g}" for name, word in named.items() if getattr(row, name, 0) > 0]
        return ", ".join(parts + (["sinks"] if getattr(row, "sinks", 0) else []))
    return pd.Series([text(row) for row in cells.itertuples()], index=cells.index, dtype=object)


def place_label(cells: pd.DataFrame) -> pd.Series:
    """The problem of each cell, for people, different for different places of one length. It names the data set, and
    how a cell was measured, where the cells differ in it; where all is equal but the values, their fingerprint."""
    values = place_keys(cells)[0]
    datasets = cells.dataset.groupby([values, cells.problem]).transform("first")
    short = dataset_labels(cells, datasets.unique())
    label = (datasets.map(short) + " " if len(short) > 1 else "") + cells.problem.astype(str)
    label = label + attention_text(cells).map(lambda text: f" ({text})" if text else "")
    if "repeat" in cells:
        label = label + cells["repeat"].map(lambda copies: f" x{copies}" if copies > 1 else "")
    if "backend" in cells:
        label = label + cells.backend.map(lambda backend: f" {backend}" if backend not in ("", "cpu") else "")
    for name in SETUP:
        if name in cells and cells[name][cells[name].astype(bool)].nunique() > 1:
            unit = " threads" if name == "threads" else ""
            label = label + cells[name].map(lambda value, unit=unit: f" {value}{unit}" if value else "")
    several = values.groupby([label, cells.kv_len]).transform("nunique") > 1
    return label.where(~several, (label + " " + cells.get("fingerprint", values).str[:8]).str.strip())
