"""Compares a cell with itself: how far its times lie apart between processes, after `measure: {rounds: N}`.

If the samples of one process said all about the next, a test at 5 % would call 5 % of the pairs of processes different.
Usage: python results/rounds.py RUN
"""

from __future__ import annotations

import itertools
import math
import sys

import load as results
import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.05  # of the Mann-Whitney tests
DIFFERENCE = 0.01  # between two methods, that a comparison is to find


def sample_totals(samples: pd.DataFrame) -> pd.DataFrame:
    """Seconds of each sample over all phases of the method, by (cell, sample), and cycles where the clock is known."""
    own = samples[samples.phase.isin(["select", "index", "attend"])]
    totals = own.groupby(["cell", "sample"]).agg(seconds=("seconds", "sum"), clock=("sm_clock_mhz", "mean"))
    return totals.assign(cycles=1e6 * totals.seconds * totals.clock)


def share_called_different(rounds: list[np.ndarray]) -> float:
    """Share of the pairs of rounds that a two-sided Mann-Whitney test calls different."""
    pairs = list(itertools.combinations(rounds, 2))
    return sum(stats.mannwhitneyu(a, b).pvalue < LEVEL for a, b in pairs) / len(pairs)


def relative_deviation(rounds: list[np.ndarray]) -> float:
    """Standard deviation of the medians of the rounds, relative to their mean; NaN where a value is not known."""
    medians = np.array([np.median(r) for r in rounds])
    return medians.std(ddof=1) / medians.mean()


def processes_needed(deviation: float, difference: float = DIFFERENCE) -> int:
    """Processes a side from which a 95 % interval of the difference of two means is narrower than `difference` on
    either side, given the standard deviation between processes, relative to the time."""
    return max(1, math.ceil(2 * (1.96 * deviation / difference) ** 2))


def against_itself(run: results.Run) -> pd.DataFrame:
    """One row a cell that was measured in several rounds; times in ms, spreads in % of the median."""
    cells = results.usable(run.cells.assign(place=results.place_label(run.cells),
                                            settings=results.settings_label(run.cells)))
    totals = sample_totals(run.samples)
    rows = []
    for _, group in cells.groupby(results.setting_numbers(cells), sort=False):
        if len(group) < 2:
            continue
        rounds, cycles = ([totals.loc[cell, unit].to_numpy() for cell in group.cell] for unit in ("seconds", "cycles"))
        medians = np.array([np.median(r) for r in rounds])
        middle, deviation = np.median(medians), relative_deviation(rounds)
        first = group.iloc[0]
        rows.append({
            "problem": first.place, "len": first.kv_len, "method": first.method,
            "settings": first.settings, "rounds": len(rounds), "samples": int(np.median([len(r) for r in rounds])),
            "median ms": 1e3 * middle, "noise %": 100 * group.noise.median(),
            "range %": 100 * (medians.max() - medians.min()) / middle, "deviation %": 100 * deviation,
            "pairs called different %": 100 * share_called_different(rounds),
            f"processes to see {DIFFERENCE:.0%}": processes_needed(deviation),
            "deviation of cycles %": 100 * relative_deviation(cycles),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    table = against_itself(results.load(sys.argv[1]))
    if table.empty:
        sys.exit(f"{sys.argv[1]} has no cell in more than one round; set measure.rounds")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3g}"))


if __name__ == "__main__":
    main()
