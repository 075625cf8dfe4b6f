"""Data of a page as `salebench report --html` writes it, of a made-up run."""

import math
import random

PHASES = ("select_s", "index_s", "attend_s")
FIGURES = ("density", "recall_mean", "recall_p05", "rel_l2", "rel_l2_worst", *PHASES, "total_s", "total_lo_s",
           "total_hi_s", "dense_s", "speedup", "speedup_lo", "speedup_hi", "noise")
NUMBERS = ("cell", "layer", "length", "round", *FIGURES, "converged", "busy", "timing_usable")
TEXTS = ("place", "dataset", "problem", "method", "role", "settings", "knob", "backend", "status", "reason", "repro",
         "selected_on", "attend_kernel")
# Role, knob, its values from exact to sparse, share of dense's time that the selection takes, how good a mask it makes.
METHODS = {
    "dense": ("baseline", "", [""], 0.0, 0.0),
    "sale": ("method", "threshold", ["0.002", "0.008", "0.03", "0.1"], 0.14, 0.5),
    "block_topk": ("method", "budget", ["0.7", "0.4", "0.2", "0.1"], 0.02, 1.6),
    "minference": ("method", "budget", ["0.6", "0.4", "0.2"], 0.10, 1.1),
    "xattention": ("method", "threshold", ["0.95", "0.9", "0.8"], 0.07, 0.8),
    "flexprefill": ("method", "gamma", ["0.98", "0.95", "0.9"], 0.06, 0.9),
    "sparge": ("method", "topk", ["0.7", "0.5", "0.3"], 0.05, 0.75),
    "streaming": ("method", "local", ["4096", "2048", "1024"], 0.0, 2.6),
    "oracle_topk": ("oracle", "budget", ["0.4", "0.2", "0.1"], 0.02, 0.35),
}
TARGETS = [("error", 0.02), ("error", 0.05), ("error", 0.1), ("recall", 0.9), ("recall", 0.95)]
FAILURES = [("unsupported", "block 64x64: the sliding window of 1024 tokens cuts blocks"),
            ("oom", "cannot allocate 18.2 GiB"), ("timeout", "longer than 120 s, on a busy machine"),
            ("crashed", "signal 11; the log ends with: scan of head 3")]


def cell(draw, method, step, problem, number):
    role, knob, values, select, badness = METHODS[method]
    dense_s = 5e-3 * (problem["length"] / 1024) ** 2 * (0.97 + 0.06 * draw.random())
    sparsity = step / len(values) if method != "dense" else 0
    kept = (1 - sparsity) ** 1.7 * (0.75 + 0.3 * draw.random()) * (0.85 if step else 0.95)
    density = 1 if method == "dense" else max(0.02, kept)
    missed = badness * problem["hard"] * 0.045 * (1 - density) ** 2 / density ** 0.5 * (0.8 + 0.4 * draw.random())
    setting = f"{knob}={values[step]}" if knob else ""
    attend, chosen = dense_s * (0.05 + 1.02 * density), dense_s * select * (0.9 + 0.2 * draw.random())
    total = attend + chosen + (dense_s * 0.01 if method != "dense" else 0)
    noise = 0.004 + 0.02 * draw.random() ** 2
    return {
        **{name: problem[name] for name in ("place", "dataset", "problem", "layer", "length")},
        "cell": number, "method": method, "role": role, "knob": knob, "backend": "cpu", "round": 0, "status": "ok",
        "settings": f"bits=8 {setting}" if method == "sale" else setting, "reason": "",
        "repro": f"salebench run config.yaml --only {method}-{number:016x} --in-process --force -o repeat",
        "selected_on": "cpu" if select else "", "attend_kernel": "", "density": density,
        "recall_mean": 1 - min(0.9, missed), "recall_p05": 1 - min(0.99, 3 * missed),
        "rel_l2": 9e-7 if method == "dense" else min(1.2, 1.6 * missed), "rel_l2_worst": min(1.5, 2.4 * missed),
        "select_s": chosen or None, "index_s": None if method == "dense" else dense_s * 0.01,
        "attend_s": attend, "total_s": total, "total_lo_s": total * (1 - noise), "total_hi_s": total * (1 + noise),
        "dense_s": dense_s, "speedup": dense_s / total, "speedup_lo": dense_s / total * (1 - 1.4 * noise),
        "speedup_hi": dense_s / total * (1 + 1.4 * noise), "noise": noise, "converged": int(noise < 0.022),
        "busy": int(draw.random() < 0.03), "timing_usable": 1}


def fail(row, status, reason):
    row.update(dict.fromkeys(FIGURES), status=status, reason=reason, timing_usable=0, converged=0, busy=0)


def problems_of(draw, datasets, layers, kv_heads, lengths):
    for dataset in datasets:
        for layer in layers:
            for kv_head in range(kv_heads):
                hard = math.exp(draw.gauss(0, 0.5))
                for length in lengths:
                    name = f"layer{layer:02}_kv{kv_head}"
                    place = f"{dataset} {name}" if len(datasets) > 1 else name
                    yield {"place": place, "dataset": dataset, "problem": name, "layer": layer, "length": length,
                           "hard": hard}


def rank_row(rows, method, reach, part):
    own = [row for row in rows if row["method"] == method]
    places = {(row["place"], row["length"]) for row in rows}
    best = {}
    for row in own:
        key = (row["place"], row["length"])
        if row["status"] == "ok" and reach(row) and (key not in best or row["total_s"] < best[key]["total_s"]):
            best[key] = row
    logs = [math.log(best[key]["speedup"]) if key in best else 0 for key in places]
    met, mean = list(best.values()), sum(logs) / len(logs)
    spread = 2 * (sum((value - mean) ** 2 for value in logs) / len(logs) / len(logs)) ** 0.5 + 0.01
    kind = "oracle" if own and own[0]["role"] == "oracle" else "rival"

    def average(name):
        return sum(row[name] or 0 for row in met) / len(met) if met else None

    return {"setup": "", "part": part, "method": method, "kind": kind, "is_baseline": method == "dense",
            "problems": len(places), "reached": len(met), "speedup": math.exp(mean),
            "speedup_lo": math.exp(mean - spread) if met else None,
            "speedup_hi": math.exp(mean + spread) if met else None,
            "speedup_reached": math.exp(mean * len(places) / len(met)) if met else None,
            "density": average("density"), "recall": min((row["recall_mean"] for row in met), default=None),
            "error": max((row["rel_l2"] for row in met), default=None),
            "select_share": (average("select_s") / average("total_s")) if met and average("select_s") else None,
            "missed_by": None if len(met) == len(places) else 0.061}


def ranking(rows, metric, value, by):
    def reach(row):
        return row["rel_l2"] <= value if metric == "error" else row["recall_mean"] >= value

    found, methods = [], list(dict.fromkeys(row["method"] for row in rows))
    for length in sorted({row["length"] for row in rows}) if by == "length" else [None]:
        part = [row for row in rows if length in (None, row["length"])]
        table = [rank_row(part, method, reach, str(length or "")) for method in methods]
        found += sorted(table, key=lambda row: (row["kind"] == "oracle", row["reached"] == 0, -row["speedup"]))
    text = f"relative error of the output at most {value}" if metric == "error" else f"mean recall at least {value}"
    return {"metric": metric, "value": value, "by": by, "chosen": (metric, value) == ("error", 0.05), "text": text,
            "rows": found}


def columns(rows):
    table = {"rows": len(rows), **{name: [row[name] for row in rows] for name in NUMBERS}}
    for name in TEXTS:
        of = list(dict.fromkeys(row[name] for row in rows))
        places = {text: i for i, text in enumerate(of)}
        table[name] = {"of": of, "at": [places[row[name]] for row in rows]}
    return table


def rounded(value):
    return float(f"{value:.4g}") if isinstance(value, float) else value


def heads_of(draw, rows, count):
    ok = [row for row in rows if row["status"] == "ok"]
    each = [row for row in ok for _ in range(count)]

    def figures(name, low, high):
        return [rounded(min(high, max(low, row[name] * math.exp(draw.gauss(0, 0.25))))) for row in each]

    recall = [rounded(1 - (1 - row["recall_mean"]) * math.exp(draw.gauss(0, 0.3))) for row in each]
    return {"cell": [row["cell"] for row in ok], "heads": [count] * len(ok), "density": figures("density", 0.01, 1),
            "recall_mean": recall, "rel_l2": figures("rel_l2", 1e-7, 2)}


def made_run(*, title="first", datasets=("llama/capture.h5",), layers=(3, 17), kv_heads=2, lengths=(4096, 8192),
             heads=3, methods=tuple(METHODS), failures=0, planned=None, live=False, rounds=1, seed=1):
    """The page's data. failures: how many cells of the rarer methods fail. planned: default, as many as there are."""
    draw, rows = random.Random(seed), []
    for problem in problems_of(draw, datasets, layers, kv_heads, lengths):
        for method in methods:
            for step in range(len(METHODS[method][2])):
                row = cell(draw, method, step, problem, len(rows))
                rows += [row | {"round": number, "cell": len(rows) + number,
                                "total_s": row["total_s"] * (1 + 0.01 * number)} for number in range(rounds)]
    for number, row in enumerate(draw.sample([row for row in rows if row["role"] == "method"], failures)):
        fail(row, *FAILURES[number % len(FAILURES)])
    rows = [{name: rounded(value) for name, value in row.items()} for row in rows]
    lists = [ranking(rows, metric, value, by) for metric, value in TARGETS
             for by in (["run", "length"] if len(lengths) > 1 else ["run"])] if rows else []
    notes = [f"{failures} of {len(rows)} cells failed and count as misses"] if failures else []
    config = "version: 1\ndatasets:\n  - {path: capture.h5}\nmethods:\n  dense: {}\n  sale: {threshold: [0.002]}\n"
    return {"schema": 1, "live": live, "title": title, "made_utc": "2026-12-01T02:10:00Z",
            "planned": planned or len(rows), "config": config,
            "machine": [["CPU", "Intel Xeon Platinum 8481C"], ["instruction set", "AMX"], ["CPU threads", "2"],
                        ["version", "0.1.0"]],
            "cells": columns(rows), "heads": heads_of(draw, rows, heads), "ranks": lists, "notes": notes}
