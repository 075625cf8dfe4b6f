"""`salebench synth`: the same file twice, what it says of itself, errors, and that the program runs on it."""

import json
import os
import re
import signal
import statistics
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_helpers import HANG, wait_for

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "datasets/samples/smollm2-135m_kjv_8k.h5"
SMALL = ("--length", 700, "--q-heads", 4, "--kv-heads", 2, "--head-dim", 32)


def contents(path):
    """All attributes and values of a capture, by name."""
    found = {}

    def visit(name, item):
        found[name] = (dict(item.attrs), item[()].tobytes() if isinstance(item, h5py.Dataset) else b"")

    with h5py.File(path) as file:
        found["/"] = dict(file.attrs)
        file.visititems(visit)
    return found


@pytest.mark.parametrize("kind", ["structured", "normal"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_two_runs_give_the_same_file(box, kind, dtype):
    options = ("--kind", kind, "--dtype", dtype, "--problems", 2, *SMALL)
    box.run("synth", *options, "-o", "a.h5", "--threads", 1)
    box.run("synth", *options, "-o", "b.h5", "--threads", 2)
    assert contents(box.path("a.h5")) == contents(box.path("b.h5"))
    box.run("synth", *options, "-o", "c.h5", "--seed", 3)
    a, c = contents(box.path("a.h5")), contents(box.path("c.h5"))
    assert a[f"problems/{kind}_0/k"][1] != c[f"problems/{kind}_0/k"][1]


def test_a_file_says_where_it_came_from(box):
    box.run("synth", *SMALL, "--problems", 2, "--seed", 9, "--sink", "3..4.5", "--topic", "1,2", "-o", "a.h5")
    with h5py.File(box.path("a.h5")) as file:
        assert file.attrs["source"] == "salebench synth"
        second = file["problems/structured_1"].attrs
        assert second["kind"] == "structured" and second["seed"] == "10"
        assert second["source"].startswith("salebench synth") and "no model" in second["model"]
        assert "--sink 3..4.5" in second["parameters"] and "--topic 1..2" in second["parameters"]
        lines = second["heads"].splitlines()
        assert len(lines) == 4 and all(3 <= float(line.split()[2]) <= 4.5 for line in lines)
        values = {name: file["problems/structured_1"][name][()] for name in "qkv"}
        words = second["parameters"].split()[1:]
    box.run(*words, "-o", "again.h5")  # the text is the command that makes the problem again
    with h5py.File(box.path("again.h5")) as file:
        assert all(np.array_equal(values[name], file["problems/structured_0"][name]) for name in "qkv")


def test_normal_is_labelled_as_the_worst_case(box):
    box.run("synth", "--kind", "normal", *SMALL, "-o", "a.h5")
    with h5py.File(box.path("a.h5")) as file:
        problem = file["problems/normal_0"]
        assert "worst case" in problem.attrs["source"] and "worst case" in problem.attrs["model"]
        for name in "qkv":
            values = problem[name][()].astype(np.float64)
            assert abs(values.mean()) < 0.03 and abs(values.std() - 1) < 0.03
    assert "worst case" in box.run("list", "datasets", "a.h5").stdout


def test_the_program_runs_on_it(box):
    box.run("synth", *SMALL, "--q-length", 200, "--problems", 2, "-o", "capture.h5")
    rows = box.sweep(box.config({"streaming": {}}), "--quick")
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert {row["problem"] for row in rows} == {"structured_0", "structured_1"}
    assert "structured_1" in box.run("check", "capture.h5").stdout


def test_help_names_the_options_and_their_defaults(box):
    text = box.run("synth", "--help").stdout
    for option in ("--kind", "--length", "--q-heads", "--kv-heads", "--head-dim", "--problems", "--seed", "--dtype",
                   "--rope-theta", "--sink", "--noise", "--out", "--force", "LOW..HIGH=6..13", "worst case"):
        assert option in text


def test_errors(box):
    for options in (["--kind", "odd"], ["--sink", "much"], ["--sink", "1..x"], ["--dtype", "float32"], ["--odd"]):
        assert box.run("synth", "-o", "a.h5", *options, code=2).stderr
    box.run("synth", code=2)
    box.fails(2, "synth", "-o", "a.h5", "--sink", "6..2", says=["sink is 6..2"])
    box.fails(2, "synth", "-o", "a.h5", "--head-dim", 33, says=["head_dim 33 is odd"])
    box.fails(2, "synth", "-o", "a.h5", "--kv-heads", 3, says=["kv_heads 3 does not divide q_heads 8"])
    box.fails(2, "synth", "-o", "a.h5", "--length", 0, says=["length is 0"])
    box.fails(6, "synth", *SMALL, "-o", "missing/a.h5", says=["missing/a.h5", "No such file"])
    box.fails(6, "synth", *SMALL, "-o", ".", says=["it is a folder"])
    assert [path.name for path in box.folder.iterdir()] == []


def test_an_existing_file_needs_force(box):
    box.run("synth", *SMALL, "-o", "a.h5")
    before = contents(box.path("a.h5"))
    box.fails(2, "synth", *SMALL, "--seed", 2, "-o", "a.h5", says=["a.h5 exists", "--force"])
    assert contents(box.path("a.h5")) == before
    box.run("synth", *SMALL, "--seed", 2, "-o", "a.h5", "--force")
    assert contents(box.path("a.h5")) != before


def test_an_interrupt_leaves_nothing_behind(box):
    process = box.start("synth", "--length", 131072, "--q-heads", 32, "-o", "a.h5")
    wait_for(lambda: list(box.folder.glob("a.h5.tmp*")), "the temporary file")
    process.send_signal(signal.SIGINT)
    assert "interrupted" in process.communicate(timeout=HANG)[1]
    assert process.returncode == 130 and not list(box.folder.iterdir())


def spread(box, *arguments):
    """Minimum, quartiles and maximum over heads of the oracle tile density at 95 % recall."""
    heads = json.loads(box.run("check", *arguments, "--json").stdout)
    densities = sorted(head["density_at_95"] for head in heads)
    return [densities[0], *statistics.quantiles(densities, method="inclusive"), densities[-1]]


@pytest.mark.skipif(os.environ.get("SALEBENCH_SANITIZED") == "1", reason="too slow under sanitizers")
def test_default_heads_are_as_sparse_as_real_ones(box):
    """Prints the rows of the table of docs/synthetic.md that need nothing from outside, and compares them."""
    box.run("synth", "--problems", 8, "-o", "spread.h5")
    box.run("synth", "--kind", "normal", "-o", "worst.h5")
    page = (ROOT / "docs/synthetic.md").read_text()
    for capture in ("spread.h5", "worst.h5", SAMPLE):
        measured = spread(box, capture)
        print(capture, *(f"{density:.3f}" for density in measured))
        row = re.search(rf"^\| `{Path(capture).name}`.*", page, re.MULTILINE)[0]
        assert measured == pytest.approx([float(cell) for cell in row.split("|")[3:8]], abs=0.002)
