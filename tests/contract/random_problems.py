"""Random problems against NumPy: every figure of every method, and the masks themselves where their rule is simple.

    .venv/bin/python tests/contract/random_problems.py --count 1000 --program build/cpu/salebench

Problem I of seed N is drawn from (N, I) alone, and its methods from N and the batch that I is in, so that
`--seed N --only I` runs one again. Ends with the worst deviations, and with the problems that failed, code 1.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2] / "datasets")]
from draw_problems import draw_problem, draw_settings  # noqa: E402
from mask_rules import mask_faults  # noqa: E402
from masks import write_masks  # noqa: E402
from numpy_attention import Attention, Mask, figures  # noqa: E402

BATCH = 10          # problems that share a capture, a config and its methods
METHODS_A_BATCH = 9
SOME_CELLS_FAILED, NOTHING_MEASURED = 1, 4


class Box:
    """The program in a folder of its own."""

    def __init__(self, program, folder):
        self.program, self.folder = Path(program).resolve(), Path(folder)
        self.env = {**os.environ, "SALEBENCH_CACHE": str(self.folder / "cache")}

    def run(self, *arguments):
        return subprocess.run([self.program, *map(str, arguments)], cwd=self.folder, env=self.env, text=True,
                              capture_output=True)

    def methods(self):
        return {method["name"]: method for method in json.loads(self.run("list", "methods", "--json").stdout)}


def write_capture(path, problems):
    with h5py.File(path, "w") as file:
        file.attrs.update(format="salebench.capture", format_version=1)
        for name, problem in problems.items():
            group = file.create_group(f"problems/{name}")
            for tensor in "qkv":
                values = problem[tensor]
                if problem["dtype"] == "bfloat16":
                    values = (values.view(np.uint32) >> 16).astype(np.uint16)
                group.create_dataset(tensor, data=values).attrs["dtype"] = problem["dtype"]
            group.attrs.update(causal=problem["causal"], scale=problem["scale"])
            group.attrs.update({key: problem[key] for key in ("window", "first_key") if problem[key]})


def write_external(rng, path, attentions):
    """Masks of random tiles for the method `external`; some rows keep nothing."""
    block = tuple(int(rng.choice([1, 16, 64, 100])) for _ in range(2))
    share, seed = rng.random(), int(rng.integers(1 << 30))
    masks = {}
    for name, a in attentions.items():  # each drawn by itself, so that a problem gets the same one when run alone
        shape = a.heads, -(-a.q_len // block[0]), -(-a.kv_len // block[1])
        masks[name] = np.random.default_rng([seed, *name.encode()]).random(shape) < share
    write_masks(path, masks, block)


def attends_exactly(method, params):
    return (method != "delta" and params.get("attend", "exact") == "exact"
            and float(params.get("pv_threshold", 50)) >= 50)


def extra_pairs(attention, method, params):
    """Pairs that delta computes again: the first row of each stride, and all of the last rows."""
    if method != "delta":
        return 0
    stride = int(params["stride"])
    tail = max(0, attention.q_len - max(128, stride)) // stride * stride
    return int(attention.visible[:tail:stride].sum() + attention.visible[tail:].sum())


class Score:
    """What has been compared, the worst deviations, and the problems that failed."""

    def __init__(self):
        self.worst = {}  # figure: (deviation / bound, deviation, bound, where)
        self.cells = collections.Counter()  # (method, status)
        self.compared = collections.Counter()
        self.faults = {}  # problem: sentences

    def fail(self, index, text):
        self.faults.setdefault(index, []).append(text)

    def compare(self, index, where, name, got, expected, bound):
        self.compared[name] += 1
        deviation = abs(got - expected)
        ratio = deviation / bound if deviation == deviation else float("inf")
        if ratio > self.worst.get(name, (-1,))[0]:
            self.worst[name] = (ratio, deviation, bound, f"problem {index}, {where}")
        if not deviation <= bound:
            self.fail(index, f"{where}: {name} is {got:.12g}, not {expected:.12g} within {bound:.3g}")

    def print(self):
        print(f"\n{'figure':<14}{'compared':>9}{'deviation':>12}{'its bound':>12}{'share':>8}  worst at")
        for name, (ratio, deviation, bound, where) in self.worst.items():
            print(f"{name:<14}{self.compared[name]:>9}{deviation:>12.2e}{bound:>12.2e}{ratio:>8.1%}  {where}")
        print(f"\n{'method':<18}{'ok':>6}{'unsupported':>13}{'refused':>9}{'failed':>8}")
        for method in sorted({method for method, _ in self.cells}):
            count = {status: number for (name, status), number in self.cells.items() if name == method}
            known = [count.pop(status, 0) for status in ("ok", "unsupported", "refused")]
            print("{:<18}{:>6}{:>13}{:>9}{:>8}".format(method, *known, sum(count.values())))


def rows_of(file, table):
    columns = {name: data.asstr()[()] if data.dtype.kind == "O" else data[()] for name, data in file[table].items()}
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def check_cell(score, index, attention, cell, heads, mask):
    """Compares the figures of one cell, head by head and overall, and its mask."""
    method, params = cell["method"], json.loads(cell["params"])
    where = f"{method} {cell['settings']}"
    for fault in mask_faults(attention, mask, method, params):
        score.fail(index, f"{where}: mask: {fault}")
    expected = figures(attention, mask, extra_pairs(attention, method, params))
    exact = attends_exactly(method, params)
    for row, figure in zip([*heads, cell], expected, strict=True):
        place = where + (f" head {row['head']}" if "head" in row else "")
        for name, (value, bound) in figure.items():
            if exact or name not in ("rel_l2", "gain", "max_abs", "l1_per_token"):
                score.compare(index, place, name, row[name], value, bound)
        score.compare(index, place, "mask_rel_l2", row["mask_rel_l2"], *figure["rel_l2"])


def settings_that_fit(box, config, settings, score):
    """The settings without those that the program refuses, as where two parameters exclude each other."""
    def refused(methods):
        (box.folder / "try.json").write_text(json.dumps({**config, "methods": methods}))
        return box.run("run", "try.json", "--dry-run").returncode == 2

    if refused(settings):
        for method in list(settings):
            if refused({method: settings[method]}):
                score.cells[method, "refused"] += 1
                del settings[method]
    return settings


def check_batch(box, methods, seed, batch, indices, score):
    problems = {f"p{i}": draw_problem(np.random.default_rng([seed, i])) for i in indices}
    attentions = {name: Attention(problem) for name, problem in problems.items()}
    write_capture(box.folder / "capture.h5", problems)
    rng = np.random.default_rng([seed, batch, 1])
    write_external(rng, box.folder / "masks.h5", attentions)
    names = sorted(methods)
    chosen = [names[(batch * METHODS_A_BATCH + i) % len(names)] for i in range(METHODS_A_BATCH)]
    settings = {name: draw_settings(rng, methods[name], methods) for name in chosen}
    settings = {name: {key: value for key, value in values.items() if value != ""} for name, values in settings.items()}
    settings["external"] = {"masks": "masks.h5"}
    config = {"run": "random", "datasets": [{"path": "capture.h5"}], "threads": 1, "save": ["masks"],
              "measure": {"warmup": 0, "min_time": 0, "max_time": 0.001, "min_samples": 1, "cache": "hot",
                          "baseline": "none"}}
    settings = settings_that_fit(box, config, settings, score)
    (box.folder / "config.json").write_text(json.dumps({**config, "methods": settings}, indent=1))
    arguments = ["run", "config.json", "-o", "out", "--force", "--quiet"]
    ended = box.run(*arguments, "--in-process")
    if ended.returncode not in (0, SOME_CELLS_FAILED, NOTHING_MEASURED):
        ended = box.run(*arguments)  # a cell took the program along: one process a cell says which
    try:
        with h5py.File(box.folder / "out/run.h5") as file:
            cells, heads = rows_of(file, "cells"), rows_of(file, "heads")
            masks = {name: Mask.read(group) for name, group in file.get("masks", {}).items()}
    except OSError:
        for index in indices:
            score.fail(index, f"the sweep ended with code {ended.returncode}: {ended.stderr.strip()[-500:]}")
        return
    if len(cells) != len(problems) * len(settings):
        score.fail(indices[0], f"{len(cells)} cells of {len(problems)} problems and {len(settings)} methods")
    for cell in cells:
        index = int(cell["problem"][1:])
        score.cells[cell["method"], cell["status"]] += 1
        if cell["status"] == "ok":
            own = [row for row in heads if row["cell"] == cell["cell"]]
            check_cell(score, index, attentions[cell["problem"]], cell, own, masks[cell["id"]])
        elif cell["status"] != "unsupported":
            score.fail(index, f"{cell['method']} {cell['settings']}: {cell['status']}: {cell['reason']}")


def print_faults(seed, index, faults):
    problem = draw_problem(np.random.default_rng([seed, index]))
    more = f"\n  and {len(faults) - 8} more" if len(faults) > 8 else ""
    print(f"\rproblem {index}: {problem['text']}\n  again: --seed {seed} --only {index}\n  "
          + "\n  ".join(faults[:8]) + more)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one problem of the seed")
    parser.add_argument("--keep", help="folder for the capture, config and results of the last batch")
    options = parser.parse_args()
    chosen = range(options.count) if options.only is None else [options.only]
    batches = collections.defaultdict(list)
    for index in chosen:
        batches[index // BATCH].append(index)
    score, done = Score(), 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        box = Box(options.program, folder)
        methods = box.methods()
        for batch, indices in batches.items():
            check_batch(box, methods, options.seed, batch, indices, score)
            done += len(indices)
            for index in sorted(set(indices) & set(score.faults)):
                print_faults(options.seed, index, score.faults[index])
            print(f"\r{done} of {len(chosen)} problems, {len(score.faults)} failed", end="", flush=True)
    score.print()
    if score.faults:
        print(f"\nfailed, to run again with --seed {options.seed} --only N: {', '.join(map(str, sorted(score.faults)))}")
    return 1 if score.faults else 0


if __name__ == "__main__":
    sys.exit(main())
