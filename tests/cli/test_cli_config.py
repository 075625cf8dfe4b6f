"""Configs that are wrong: exit code 2, with the place and the nearest right name, before anything is made."""

import json
import os

import pytest
from cli_helpers import Box, cases, problem

CONFIG = """version: 1
run: test
datasets:
  - {path: capture.h5, lengths: [256]}
methods:
  dense: {}
  sale: {threshold: [0.1]}
measure: {max_time: 1}
limits: {cell_timeout: 60}
truth: {rows: 0}
seed: 1
"""


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path)
    box.capture()
    return box


def write(box, text, name="config.yaml"):
    path = box.path(name)
    path.write_bytes(text) if isinstance(text, bytes) else path.write_text(text)
    return path


def place_of(text, word):
    """"line:column" of a word in a text, from 1."""
    before = text[:text.index(word)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def refused(box, config, *arguments, says, code=2):
    message = box.fails(code, "run", config, "-o", "out", *arguments, says=says)
    assert not box.path("out").exists()
    return message


def cells(box, config, *arguments):
    return box.run("run", config, "--dry-run", *arguments).stdout.count("run   ")


def test_the_config_that_the_others_break_is_right(box):
    assert cells(box, write(box, CONFIG)) == 2


# change, the word that is wrong, the name that was meant
UNKNOWN = {
    "top": (("seed: 1", "seeed: 1"), "seeed", "seed"),
    "dataset": (("lengths:", "length:"), "length:", "lengths"),
    "measure": (("max_time", "max_tme"), "max_tme", "max_time"),
    "limits": (("cell_timeout", "celltimeout"), "celltimeout", "cell_timeout"),
    "truth": (("rows", "row"), "row:", "rows"),
    "method parameter": (("threshold", "treshold"), "treshold", "threshold"),
    "parameter in a list of grids": (("{threshold: [0.1]}", "[{threshold: 0.1}, {bit: 4}]"), "bit:", "bits"),
    "method": (("sale:", "sail:"), "sail", "sale"),
    "a key that must be there": (("methods:", "methodz:"), "methodz", "methods"),
    "the other key that must be there": (("datasets:", "dataset:"), "dataset:", "datasets"),
    "path of a dataset": (("path:", "pth:"), "pth", "path"),
    "baseline": (("max_time: 1", "baseline: dens"), "dens}", "dense"),
}


@pytest.mark.parametrize("change, word, meant", cases(UNKNOWN))
def test_unknown_name(box, change, word, meant):
    text = CONFIG.replace(*change)
    config = write(box, text)
    place = f"{config}:{place_of(text, word)}: "
    refused(box, config, says=[place, word.strip(":}"), f"did you mean '{meant}'?"])


# change, what the message names
WRONG = {
    "no number": (("max_time: 1", "max_time: long"), ["measure.max_time", "number"]),
    "nan": (("max_time: 1", "max_time: nan"), ["measure.max_time", "nan"]),
    "map for a number": (("max_time: 1", "max_time: {a: 1}"), ["measure.max_time", "number"]),
    "number for a map": (("{max_time: 1}", "1"), ["measure", "map"]),
    "list for a map": (("{threshold: [0.1]}", "{threshold: {a: 1}}"), ["methods.sale.threshold"]),
    "fraction for an integer": (("seed: 1", "seed: 1.5"), ["seed", "1.5", "whole number"]),
    "list for an integer": (("seed: 1", "seed: [1, 2]"), ["seed"]),
    "list for a text": (("run: test", "run: [a, b]"), ["run", "one value"]),
    "text for the datasets": (("  - {path: capture.h5, lengths: [256]}", "  capture.h5"), ["datasets", "list"]),
    "text for a dataset": (("{path: capture.h5, lengths: [256]}", "capture.h5"), ["datasets.0", "map"]),
    "no path": (("path: capture.h5, ", ""), ["datasets.0.path", "missing"]),
    "empty path": (("path: capture.h5", "path: "), ["datasets.0.path"]),
    "no datasets": (("datasets:\n  - {path: capture.h5, lengths: [256]}\n", ""), ["datasets", "missing"]),
    "empty datasets": (("  - {path: capture.h5, lengths: [256]}", "  []"), ["datasets"]),
    "empty methods": (("methods:\n  dense: {}\n  sale: {threshold: [0.1]}", "methods: {}"), ["methods", "no method"]),
    "no methods": (("methods:\n  dense: {}\n  sale: {threshold: [0.1]}\n", ""), ["methods", "missing"]),
    "list of methods": (("methods:\n  dense: {}\n  sale: {threshold: [0.1]}", "methods: [dense]"), ["methods", "map"]),
    "number for a method": (("dense: {}", "dense: 3"), ["methods.dense", "map"]),
    "threshold too large": (("[0.1]", "[0.1, 1.5]"), ["methods.sale", "threshold", "1.5", "0 to 1"]),
    "threshold no number": (("[0.1]", "[low]"), ["methods.sale", "threshold", "low"]),
    "no such choice": (("[0.1]", "0.1, bits: 5"), ["methods.sale", "bits", "5", "4, 8, 16"]),
    "no values": (("[0.1]", "[]"), ["methods.sale.threshold"]),
    "length 0": (("[256]", "[0]"), ["datasets.0.lengths", "0 is outside"]),
    "timeout 0": (("cell_timeout: 60", "cell_timeout: 0"), ["limits.cell_timeout", "outside"]),
    "negative threads": (("seed: 1", "threads: -1"), ["threads", "-1 is outside"]),
    "max_time below min_time": (("max_time: 1", "max_time: 0.1, min_time: 0.2"), ["measure.max_time", "min_time"]),
    "unknown cache": (("max_time: 1", "cache: warm"), ["measure.cache", "warm", "cold, hot"]),
    "unknown save": (("seed: 1", "save: images"), ["save", "images", "masks"]),
    "unknown backend": (("seed: 1", "backend: gpu"), ["backend", "gpu", "cpu"]),
    "other version": (("version: 1", "version: 2"), ["version", "1"]),
    "key twice": (("seed: 1", "seed: 1\nseed: 2"), ["seed", "twice"]),
    "method twice": (("  dense: {}", "  dense: {}\n  dense: {}"), ["methods.dense", "twice"]),
}


@pytest.mark.parametrize("change, says", cases(WRONG))
def test_wrong_value(box, change, says):
    assert change[0] in CONFIG
    config = write(box, CONFIG.replace(*change))
    refused(box, config, says=[f"{config}:", *says])


NOT_YAML = {
    "bad syntax": (CONFIG + "\t: [}\n", ":12:"),
    "open bracket": (CONFIG + "save: [masks\n", "config.yaml:"),
    "text": ("hello world\n", "not a map"),
    "empty": ("", "not a map"),
    "list": ("- a\n- b\n", "not a map"),
    "bytes": (bytes(range(256)), "config.yaml:"),
    "second document": (CONFIG + "---\nseed: 2\n", ":13:1: a second document"),
}


@pytest.mark.parametrize("text, says", cases(NOT_YAML))
def test_not_a_config(box, text, says):
    refused(box, write(box, text), says=["config.yaml", says])


def test_no_config(box):
    refused(box, "none.yaml", says=["none.yaml"])


@pytest.mark.parametrize("arguments", [["b\udcff.yaml"], ["config.yaml", "-o", "o\udcff"],
                                       ["config.yaml", "--note", "n\udcff"]], ids=["config", "folder", "note"])
def test_names_that_results_cannot_hold(box, arguments):
    box.fails(2, "run", *arguments, says=["UTF-8"])
    assert [path.name for path in box.path(".").iterdir()] == ["capture.h5"]


def test_a_config_that_is_not_utf8(box):
    refused(box, write(box, CONFIG.encode() + b"x-note: \xff\n"), says=["config.yaml: not UTF-8"])


def test_folder_for_a_config(box):
    refused(box, ".", says=["cannot open ."])


def test_cuda_is_not_there(box):
    config = write(box, CONFIG + "backend: [cuda]\n")
    refused(box, config, says=["cuda", "backend: [cpu]"], code=5)
    refused(box, write(box, CONFIG), "--set", "backend=cuda", says=["cuda"], code=5)


# override, what the message names
OVERRIDES = {
    "unknown key": ("measure.max_tme=5", ["--set measure.max_tme", "did you mean 'max_time'?"]),
    "unknown top key": ("measur=5", ["--set measur", "did you mean 'measure'?"]),
    "unknown parent": ("measur.max_time=5", ["--set measur", "did you mean 'measure'?"]),
    "unknown method": ("methods.sail={}", ["--set methods.sail", "did you mean 'sale'?"]),
    "unknown parameter": ("methods.sale.treshold=0.1", ["--set methods.sale.treshold", "did you mean 'threshold'?"]),
    "no value": ("measure.max_time", ["--set measure.max_time", "key=value"]),
    "no key": ("=5", ["--set =5", "key=value"]),
    "empty value": ("measure.max_time=", ["--set measure.max_time", "number"]),
    "wrong type": ("measure.max_time=long", ["--set measure.max_time", "number"]),
    "out of range": ("methods.sale.threshold=2", ["--set methods.sale.threshold", "0 to 1"]),
    "not YAML": ("methods.sale.threshold=[0.1", ["--set methods.sale.threshold=[0.1"]),
    "no such index": ("datasets.5.path=x", ["--set datasets.5.path", "list of 1"]),
    "no index": ("datasets.x.path=x", ["--set datasets.x.path", "'x'"]),
    "huge index": ("datasets.99999999999999999999.path=x", ["--set datasets.99999999999999999999.path"]),
    "values that don't fit together": ("methods.delta={base: [streaming, block_topk], base_params: pool=max}",
                                       ["--set methods.delta", "with base=streaming base_params=pool=max",
                                        "unknown parameter 'pool'"]),
    "two documents": ("measure={max_time: 1}\n---\n{}", ["--set measure", "more than one value"]),
    "anchors": ("x-grid.budget=1", ["--set x-grid.budget", "where it is used"]),
    "below a value": ("run.x=1", ["--set run.x"]),
    "below a nested value": ("datasets.0.path.x=1", ["--set datasets.0.path.x"]),
}


@pytest.mark.parametrize("override, says", cases(OVERRIDES))
def test_wrong_override(box, override, says):
    refused(box, write(box, CONFIG), "--set", override, says=says)


@pytest.mark.parametrize("overrides, count", [
    (["methods.sale.threshold=[0.1, 0.2, 0.3]"], 4),
    (["methods.sale.threshold=[0.1, 0.2]", "methods.sale.bits=[4, 8]"], 5),
    (["datasets.0.lengths=[64, 128, 256]"], 6),
    (["methods.block_topk={budget: [0.1, 0.2]}"], 4),
    (["methods={dense: {}}"], 1),
    (["methods.sale.threshold=[0.1, 0.1]"], 2),  # equal cells appear once
])
def test_override(box, overrides, count):
    assert cells(box, write(box, CONFIG), *[word for text in overrides for word in ("--set", text)]) == count


@pytest.mark.parametrize("measure, times", [("{max_time: 0.2}", (0.2, 0.2)), ("{min_time: 20}", (20, 20)),
                                            ("{max_time: 3}", (0.3, 3)), ("{}", (0.3, 5))])
def test_one_time_gives_way_to_the_other(box, measure, times):
    box.run("run", write(box, CONFIG.replace("{max_time: 1}", measure)), "--quick", "-o", "out")
    plan = json.loads(box.path("out/plan.json").read_text())
    assert (plan["min_time"], plan["max_time"]) == times


@pytest.mark.parametrize("variable, config, threads", [("1", "", 1), ("2,4", "", 2), ("1", "threads: 2\n", 2),
                                                       (None, "", None), ("1", "threads: 0\n", None)])
def test_threads_of_the_environment(box, variable, config, threads):
    box.env.pop("OMP_NUM_THREADS", None)
    if variable:
        box.env["OMP_NUM_THREADS"] = variable
    rows = box.sweep(write(box, CONFIG + config), "--quick")
    assert {row["threads"] for row in rows} == {threads or len(os.sched_getaffinity(0))}
    # The stored config makes the same cells where the variable is not set.
    box.env.pop("OMP_NUM_THREADS", None)
    again = write(box, box.path("out/config.yaml").read_text(), "again.yaml")
    assert [row["id"] for row in box.sweep(again, "--quick", out="again")] == [row["id"] for row in rows]


def tokens(box, config, code=0):
    """The length of the capture that a config's one dry cell reads."""
    output = box.run("run", config, "--dry-run", code=code).stdout
    return [int(line.split()[-1]) for line in output.splitlines() if line.startswith("run")]


def test_paths_are_walked_as_the_kernel_does(box):
    """home/conf links to big/conf, so that home/conf/../data is big/data, whatever home/data holds."""
    for folder in ("big/conf", "big/data", "home/data"):
        box.path(folder).mkdir(parents=True)
    box.capture("big/data/x.h5", p=problem(kv_len=100))
    box.capture("home/data/x.h5", p=problem(kv_len=200))
    box.path("home/conf").symlink_to("../big/conf")
    write(box, "version: 1\ndatasets: [{path: ../data/x.h5}]\nmethods: {dense: {}}\n", "big/conf/c.yaml")
    assert tokens(box, "home/conf/c.yaml") == tokens(box, "big/conf/c.yaml") == [100]
    # A link on the way of the data path itself, one in the config's own path, and a folder that isn't there.
    box.path("home/away").symlink_to("../big/data")
    write(box, "version: 1\ndatasets: [{path: away/../data/x.h5}]\nmethods: {dense: {}}\n", "home/c.yaml")
    assert tokens(box, "home/c.yaml") == tokens(box, "home/conf/../../home/./c.yaml") == [100]
    write(box, "version: 1\ndatasets: [{path: gone/../data/x.h5}]\nmethods: {dense: {}}\n", "home/c.yaml")
    box.fails(5, "run", "home/c.yaml", "--dry-run", says=["cannot open", "gone/../data/x.h5", "No such file"])


def test_overrides_are_stored_with_the_results(box):
    config = write(box, CONFIG)
    rows = box.sweep(config, "--quick", "--set", "methods={streaming: {local: 77}}", "--set", "run=other")
    assert [row["settings"] for row in rows] == ["local=77"]
    stored = box.path("out/config.yaml").read_text()
    assert "local: 77" in stored and "other" in stored and "sale" not in stored
