"""`salebench report --rank` says what rank.py does and what pandas gives by hand; targets, parts and refusals."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cli_helpers import Box
from test_cli_calibrate import sinks

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "results"))
import load as results  # noqa: E402
import rank as ranking  # noqa: E402

METHODS = {"dense": {}, "sale": {"threshold": [0.0005, 0.05]}, "block_topk": {"budget": [0.3, 1]},
           "random": {"density": 0.3}, "oracle_topk": {"budget": 0.4}}  # fmt: skip


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    made = Box(tmp_path_factory.mktemp("rank"))
    made.capture(p=sinks(1), r=sinks(2))
    measure = {"warmup": 0, "min_time": 0, "max_time": 0.01, "min_samples": 2, "cache": "hot", "rounds": 2}
    made.sweep(made.config(METHODS, datasets=[{"path": "capture.h5", "lengths": [600, 1200]}], measure=measure))
    return made


def ranked(box, *arguments):
    return pd.DataFrame(json.loads(box.run("report", "out", "--rank", "--format", "json", *arguments).stdout))


@pytest.mark.parametrize("arguments, same", [
    (["--at-error", "0.05"], {"at_error": 0.05}),
    (["--at-recall", "0.9", "--by", "length"], {"at_recall": 0.9, "by": "length"}),
    (["--at-error", "0.02", "--each-head", "--interpolate"], {"at_error": 0.02, "each_head": True, "interpolate": True}),
    (["--at-recall", "0.97", "--slack", "0.5", "--by", "layer"], {"at_recall": 0.97, "slack": 0.5, "by": "layer"}),
])  # fmt: skip
def test_program_and_module_agree(box, arguments, same):
    rows, expected = ranked(box, *arguments), ranking.rank(results.load(box.path("out")).cells, **same)
    assert set(rows) == set(expected) and len(rows) == len(expected)
    for name in expected:
        if pd.api.types.is_numeric_dtype(expected[name]):
            np.testing.assert_allclose(rows[name].astype(float), expected[name].astype(float), rtol=1e-9, err_msg=name)
        else:
            assert list(rows[name]) == list(expected[name]), name


def test_as_by_hand(box):
    cells = results.load(box.path("out")).cells
    rows = ranked(box, "--at-error", "0.05").set_index("method")
    for method in ("sale", "block_topk", "dense", "random"):
        logs = []
        for _, place in cells.groupby(["problem", "kv_len"]):
            own = place[place.method == method].groupby("params").agg({"rel_l2": "first", "total_s": "median", "speedup": "median"})
            good = own[own.rel_l2 <= 0.05]
            logs.append(0 if good.empty else np.log(good.speedup[good.total_s.idxmin()]))
        assert rows.speedup[method] == pytest.approx(np.exp(np.mean(logs)))
        assert rows.problems[method] == 4 and rows.reached[method] == sum(log != 0 for log in logs)
        if rows.reached[method]:
            assert rows.speedup_lo[method] <= rows.speedup[method] <= rows.speedup_hi[method]


def test_the_table_fits_and_says_what_it_is(box):
    text = box.run("report", "out", "--rank", "--at-error", "0.05").stdout
    assert max(map(len, text.splitlines())) <= 100, text
    assert "oracle_topk" in text.split("no rivals: oracles")[1] and "relative L2 error of the output <= 0.05" in text
    places = [line.split()[:2] for line in text.split("\n\n")[0].splitlines() if line[:1].isdigit()]
    assert [int(number) for number, _ in places] == list(range(1, len(places) + 1))
    assert "-  random" in text  # meets it nowhere
    by_length = box.run("report", "out", "--rank", "--at-error", "0.05", "--by", "length").stdout
    assert by_length.startswith("600\n") and "\n1200\n" in by_length and "faster than dense from: " in by_length


def test_calibrated_runs_know_their_target(box):
    section = {"target": {"rel_l2": 0.05}, "fit": "all"}
    config = box.config({"sale": {}}, [{"path": "capture.h5"}], "cal.yaml", calibrate=section)
    box.run("calibrate", config, "-o", "cal", "-q")
    box.run("run", "cal/run.yaml", "-o", "ran", "-q")
    cells = box.rows("ran")
    assert {(c["target_metric"], c["target_scope"], c["target"]) for c in cells} == {("rel_l2", "head", 0.05)}
    text = box.run("report", "ran", "--rank").stdout
    assert "met: relative L2 error of every head <= 0.05" in text and " 2/2 " in text


def test_what_is_refused(box):
    box.fails(2, "report", "out", "--rank", says=["--at-error 0.05", "--at-recall"])
    box.fails(2, "report", "out", "--at-error", "0.05", says="--at-error, --each-head and --slack need --rank")
    box.sweep(box.config({"sale": {}}), "--quick", out="quick")
    said = box.run("report", "quick", "--rank", "--at-error", "1", code=4)
    assert said.stderr == "nothing to rank: no cell has usable times\n" and said.stdout == ""
    for words in (["--at-error", "nan"], ["--at-error", "0"], ["--at-recall", "nan"], ["--at-error", "1", "--slack", "nan"]):
        assert "is not a number from" in box.run("report", "out", "--rank", *words, code=2).stderr


def test_strict_leaves_doubtful_times_out(box):
    cells = results.load(box.path("out")).cells
    assert (cells.timing_usable == 1).all() and (cells.converged == 0).any()
    doubtful = int(((cells.converged == 0) | (cells.busy == 1)).sum())
    text = box.run("report", "out", "--rank", "--at-error", "0.05", "--strict").stdout
    assert f"{doubtful} of {len(cells)} cells have no usable times" in text
    rows = json.loads(box.run("report", "out", "--strict", "--format", "json").stdout)
    assert len(rows) == len(cells) - doubtful
