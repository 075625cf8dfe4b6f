"""What the notebooks share to draw: styles, dashes and file names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import h5py
from load import Run

PLOT_STYLE = {
    "font.family": "sans-serif", "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "legend.fontsize": 7,
    "xtick.labelsize": 7, "ytick.labelsize": 7, "lines.linewidth": 1.1, "lines.markersize": 4.5,
    "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True,
    "axes.grid": True, "grid.color": "0.9", "grid.linewidth": 0.5, "legend.frameon": False,
    "figure.dpi": 130, "figure.constrained_layout.use": True, "savefig.dpi": 300, "pdf.fonttype": 42,
}  # fmt: skip


@dataclass(frozen=True)
class Style:
    """Colour and marker of a method, the same in all plots."""

    color: str
    marker: str


def label(run: Run, column: str, table: str = "cells") -> str:
    """What a column is called in plots: as the run says, or its name."""
    with h5py.File(run.path) as file:
        return str(file[table][column].attrs.get("label", column))


def method_styles(methods: Iterable[str]) -> dict[str, Style]:
    """A style for each method: fixed for the usual ones, else the next free of a colour-blind-safe palette."""
    styles = {"dense": Style("#000000", "D"), "oracle_topk": Style("#777777", "x"), "sale": Style("#0072B2", "o"),
              "block_topk": Style("#D55E00", "s"), "streaming": Style("#009E73", "^")}  # fmt: skip
    free = ["#CC79A7", "#E69F00", "#56B4E9", "#882255", "#999933", "#332288", "#AA4499", "#661100"]
    markers = "vP<X>pd*h"
    for i, method in enumerate(sorted(set(methods) - set(styles))):
        styles[method] = Style(free[i % len(free)], markers[i % len(markers)])
    return styles


def dashes(number: int) -> str | tuple:
    """A line style that tells line `number` of a method from its others."""
    patterns = ["-", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (4, 1.5)), (0, (8, 1, 1, 1, 1, 1, 1, 1))]
    return patterns[number % len(patterns)]


def slugs(labels: Iterable[str]) -> dict[str, str]:
    """Each label as part of a file name; a number keeps names apart that would be equal."""
    names: dict[str, str] = {}
    for label in sorted(set(labels)):
        stem = name = re.sub(r"[^\w.-]+", "_", label)[:120]
        number = 1
        while name in names.values():
            number += 1
            name = f"{stem}-{number}"
        names[label] = name
    return names
