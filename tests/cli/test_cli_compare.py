"""`salebench compare`: what it matches, what it calls slower, its exit codes, and two methods of one run."""

import json
import shutil

import h5py
import numpy as np
import pytest
from cli_helpers import Box
from test_cli_calibrate import sinks

METHODS = {"dense": {}, "sale": {"threshold": [0.001, 0.01, 0.05]}, "block_topk": {"budget": [0.2, 0.6, 1]}}


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A run with four processes a cell, whose times are made alike: what machines do is no part of these tests."""
    made = Box(tmp_path_factory.mktemp("compare"))
    made.capture(p=sinks(1), r=sinks(2))
    measure = {"warmup": 0, "min_time": 0, "max_time": 0.01, "min_samples": 2, "cache": "hot", "rounds": 4}
    made.sweep(made.config(METHODS, measure=measure), out="ran")

    def even(cells):
        noise = np.random.default_rng(1).normal(0, 0.005, (2, len(cells["method"])))
        cells["busy"][:] = 0
        cells["dense_s"][:] = np.exp(noise[0])
        cells["total_s"][:] = np.where(cells["method"].asstr()[:] == "block_topk", 0.5, 0.4) * np.exp(noise[1])
        cells["speedup"][:] = cells["dense_s"][:] / cells["total_s"][:]

    variant(made, "base", even, of="ran")
    return made


def variant(box, name, change, of="base"):
    """A copy of a run.h5 with changed cells."""
    box.path(name).mkdir()
    shutil.copy(box.path(of) / "run.h5", box.path(name) / "run.h5")
    with h5py.File(box.path(name) / "run.h5", "a") as file:
        change(file["cells"])
    return f"{name}/run.h5"


def slower(cells, method="sale", factor=1.05):
    cells["total_s"][:] = cells["total_s"][:] * np.where(cells["method"].asstr()[:] == method, factor, 1)


def compared(box, fresh, *arguments, code=0, base="base/run.h5"):
    return json.loads(box.run("compare", base, fresh, "--format", "json", *arguments, code=code).stdout)


def test_a_run_equals_itself(box):
    said = compared(box, "base/run.h5", "--fail-on-regression")
    assert len(said["cells"]) == 14 and not said["regressed"] and said["baseline"] == 1
    assert {cell["verdict"] for cell in said["cells"]} == {"too_few"}  # four rounds can't tell one of twelve cells
    assert {m["verdict"] for m in said["methods"]} == {"same"}
    assert all(cell["ratio"] == 1 for cell in said["cells"])
    text = box.run("compare", "base/run.h5", "base/run.h5").stdout
    assert "14 cells of both runs: 0 slower, 0 faster, 0 without a change seen, 0 failed now" in text
    assert "12 can't be told alone by so few processes among so many cells: see their methods, or set measure.rounds to 7" in text


def test_five_per_cent_of_a_method_are_found(box):
    fresh = variant(box, "slow", slower)
    said = compared(box, fresh, "--fail-on-regression", code=3)
    assert {m["method"]: m["verdict"] for m in said["methods"]} == {"sale": "slower", "block_topk": "same"}
    sale = next(m for m in said["methods"] if m["method"] == "sale")
    assert sale["cells"] == 6 and sale["ratio"] == pytest.approx(1.05) and sale["relative_lo"] <= 1.05 <= sale["relative_hi"]
    assert compared(box, fresh)["regressed"]  # code 0: nobody asked to fail
    assert not compared(box, fresh, "--floor", "0.1", "--fail-on-regression")["regressed"]
    back = compared(box, "base/run.h5", "--fail-on-regression", base=fresh)
    assert {m["method"]: m["verdict"] for m in back["methods"]} == {"sale": "faster", "block_topk": "same"}
    markdown = box.run("compare", "base/run.h5", fresh, "--format", "md").stdout
    assert "| sale " in markdown and "slower" in markdown


def test_results_and_failures(box):
    def change(cells):
        methods = cells["method"].asstr()[:]
        first, second = np.flatnonzero(methods == "sale")[0], np.flatnonzero(methods == "block_topk")[0]
        cells["status"][first], cells["reason"][first] = "crashed", "signal 11"  # one round of four
        cells["recall_mean"][second] -= 0.01
        cells["rel_l2"][np.flatnonzero(methods == "block_topk")[-1]] = np.nan

    text = box.run("compare", "base/run.h5", variant(box, "broken", change), "--fail-on-regression", code=3).stdout
    assert "crashed: signal 11" in text and "worse result: recall" in text
    assert "1 failed now, 2 with a worse result" in text


def test_too_few_processes_say_so(box):
    def drop(cells):
        cells["timing_usable"][cells["round"][:] > 2] = 0

    process = box.run("compare", "base/run.h5", variant(box, "few", drop), "--fail-on-regression", code=4)
    assert "12 had fewer than 4 processes with usable times on a side: no verdict" in process.stdout
    assert "no verdict: " in process.stderr


def test_what_is_refused(box):
    def elsewhere(cells):
        for i in range(len(cells["host"])):
            cells["host"][i] = "Another CPU"

    fresh = variant(box, "elsewhere", elsewhere)
    box.fails(2, "compare", "base/run.h5", fresh, says=["host: Another CPU, not", "--lenient"])
    assert len(compared(box, fresh, "--lenient")["cells"]) == 14
    box.fails(2, "compare", "base/run.h5", says=["second run", "--methods"])
    box.fails(2, "compare", "base/run.h5", "--methods", "sale", "quest", "--at-error", "0.1", says=["quest"])
    assert "is not a number from" in box.run("compare", "base/run.h5", fresh, "--floor", "nan", code=2).stderr
    box.sweep(box.config({"sale": {"bits": 8}, "oracle_topk": {}}, name="other.yaml"), "--quick", out="other")
    box.fails(2, "compare", "other", "--methods", "sale", "oracle_topk", "--at-error", "1", says=["oracle_topk is an oracle"])
    box.run("compare", "base/run.h5", "--methods", "sale", "block_topk", "--at-error", "1e-8", code=4)
    assert "nothing to compare" in box.run("compare", "base/run.h5", "other", code=4).stderr


def test_older_files_have_fewer_columns(box):
    def older(cells):
        del cells["fingerprint"], cells["cache"]

    said = compared(box, variant(box, "older", older))
    assert len(said["cells"]) == 14 and said["only_base"] == said["only_new"] == 0


def test_two_methods_of_one_run(box):
    said, = json.loads(box.run("compare", "base/run.h5", "--methods", "sale", "block_topk", "--at-error", "1",
                               "--format", "json").stdout)  # fmt: skip
    assert said["problems"] == said["both"] == 2 and said["first_alone"] == said["second_alone"] == 0
    assert said["ratio"] == pytest.approx(1.25, rel=0.02) and said["ratio_lo"] < said["ratio"] < said["ratio_hi"]
    text = box.run("compare", "base/run.h5", "--methods", "sale", "block_topk", "--at-error", "1").stdout
    assert text.startswith("sale is 1.2") and "times as fast as block_topk" in text
