"""`salebench calibrate`: what it finds meets the target, and `run` measures the same with the files it wrote."""

import json
import math
import re
import signal
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_helpers import HANG, TEST_PROGRAM, Box, problem, read_table, wait_for

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "results"))
import load as results  # noqa: E402

LENGTH = 1200


def sinks(seed=1, q_heads=2, kv_len=LENGTH):
    """A problem with something to skip: attention falls on the first keys and on the latest."""
    parts = problem(seed=seed, q_heads=q_heads, kv_len=kv_len)
    angle = np.arange(kv_len) / 20
    for name in ("q", "k"):
        parts[name] = (parts[name] / 2).astype(np.float16)
        parts[name][..., :2] = 3 * np.stack([np.cos(angle), np.sin(angle)], axis=-1)
        parts[name][..., 2] = 2
    parts["k"][:, :8, 2] = 8
    parts["q"][..., 2] += np.arange(q_heads)[:, None]  # the sink is worth more to each next head
    return parts


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path)
    box.capture(p=sinks(1), r=sinks(2))
    return box


def config(box, methods, target, name="calibrate.yaml", sweep=None, **section):
    return box.config(methods, name=name, calibrate={"target": target, **section}, **(sweep or {}))


def remark(cell):
    """Of a cell with values of a calibration, what is said besides their target and what they reach."""
    before, _, reached = cell["reason"].partition("calibrated for ")
    assert re.fullmatch(r"\w+ [\d.e-]+ (a head|a problem|of all problems); over all rows [\d.e-]+, worst head [\d.e-]+",
                        reached) or (not reached and cell["method"] == "dense"), cell["reason"]
    return before.removesuffix("; ")


def calibrate(box, path, *arguments, out="cal", code=0, program="salebench"):
    """Runs a calibration to its end; returns the rows of its table."""
    options = {"program": program} if program != "salebench" else {}
    box.run("calibrate", path, "-o", out, *arguments, code=code, **options)
    return read_table(box.path(out) / "calibration.h5", "calibration")


def of_heads(rows):
    return [row for row in rows if row["head"] >= 0]


def whole(rows):
    return [row for row in rows if row["head"] < 0]


@pytest.mark.parametrize("sections, wrong, meant", [
    ({"calibrat": {"target": {"rel_l2": 0.1}}}, "calibrat", "calibrate"),
    ({"calibrate": {"target": {"rel_l2": 0.1}}, "measur": {}}, "measur", "measure"),
    ({"calibrate": {"targett": {"rel_l2": 0.1}}}, "calibrate.targett", "target"),
])
def test_misspelt_keys_are_named(box, sections, wrong, meant):
    box.fails(2, "calibrate", box.config({"sale": {}}, **sections), "--dry-run",
              says=[f" {wrong}: unknown key (did you mean '{meant}'?)"])


@pytest.mark.parametrize("fit", ["all", "first_half", "even_blocks"])
def test_values_meet_the_target_and_run_measures_the_same(box, fit):
    rows = calibrate(box, config(box, {"dense": {}, "sale": {"bits": [4, 8]}, "block_topk": {}},
                                 {"rel_l2": [0.03, 0.1]}, fit=fit))
    found = [row for row in of_heads(rows) if row["method"] != "dense"]
    assert len(found) == 2 * 2 * 2 * 3 and {row["status"] for row in found} == {"ok"}
    assert all(0 < row["fit_rel_l2"] < row["target"] and 0 < row["fit_density"] < 1 for row in found)
    assert all(math.isnan(row["held_out_rel_l2"]) == (fit == "all") for row in found)
    assert {row["status"] for row in rows if row["method"] == "dense"} == {"fixed"}
    cells = box.sweep("cal/run.yaml", "--quick")
    assert len(cells) == 2 * (1 + 2 * 3) and {cell["status"] for cell in cells} == {"ok"}
    assert not [cell for cell in cells if remark(cell)]
    if fit != "all":
        return
    heads = {(row["file"], row["problem"], row["head"]): row for row in found}
    for head in box.rows(table="heads"):
        cell = cells[head["cell"]]
        if cell["method"] == "dense":
            continue
        files = [value for value in json.loads(cell["params"]).values() if str(value).endswith(".json")]
        row = heads[Path(files[0]).name, cell["problem"], head["head"]]
        for ours, theirs in (("fit_rel_l2", "rel_l2"), ("fit_density", "density"), ("fit_recall", "recall_mean"),
                             ("fit_l1_per_token", "l1_per_token")):
            assert row[ours] == pytest.approx(head[theirs], rel=1e-9)


def test_parts_of_the_rows_add_up(box):
    rows = calibrate(box, config(box, {"block_topk": {}}, {"rel_l2": 0.05}, fit="first_half"))
    box.sweep("cal/run.yaml", "--quick")
    pairs = LENGTH * (LENGTH + 1) / 2
    fitted = 640 * 641 / 2  # 5 of 10 groups of 128 rows
    for row, head in zip(of_heads(rows), box.rows(table="heads")):
        kept = row["fit_density"] * fitted + row["held_out_density"] * (pairs - fitted)
        assert kept / pairs == pytest.approx(head["density"], rel=1e-9)
        assert min(row["fit_rel_l2"], row["held_out_rel_l2"]) <= head["rel_l2"] <= max(row["fit_rel_l2"],
                                                                                     row["held_out_rel_l2"])


@pytest.mark.parametrize("target", [{"l1_per_token": 0.3}, {"recall": 0.95}])
def test_other_targets(box, target):
    (name, limit), = target.items()
    rows = of_heads(calibrate(box, config(box, {"oracle_topk": {}}, target, fit="all")))
    assert {row["status"] for row in rows} == {"ok"} and {row["metric"] for row in rows} == {name}
    for row in rows:
        figure = row[f"fit_{name}"]
        assert (limit <= figure < 1) if name == "recall" else (0 < figure < limit)


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_shared_values(box, scope):
    rows = calibrate(box, config(box, {"sale": {}, "streaming": {"sink": 16}}, {"rel_l2": 0.05}, fit="all", scope=scope))
    values = {}
    for row in rows:
        values.setdefault((row["method"], row["problem"] if scope == "layer" else ""), set()).add(row["value"])
    assert all(len(found) == 1 for found in values.values()), values
    assert all(row["fit_rel_l2"] < 0.05 for row in whole(rows))
    stored = json.loads((box.path("cal") / f"sale_rel_l2=0.05_{scope}.json").read_text())
    assert ("value" in stored) == (scope == "global") and ("values" in stored) == (scope == "layer")
    cells = box.sweep("cal/run.yaml", "--quick")
    found = {(row["method"], row["problem"]): row["fit_rel_l2"] for row in whole(rows)}
    for cell in cells:
        assert cell["rel_l2"] == pytest.approx(found[cell["method"], cell["problem"]], rel=1e-9)
    shared = {row["value"] for row in rows if row["method"] == "streaming"}
    assert {cell["method"] for cell in cells} == ({"sale", "streaming"} if len(shared) == 1 else {"sale"})


def test_knobs_that_heads_share_have_rows_but_no_file(box):
    process = box.run("calibrate", config(box, {"streaming": {"sink": 16}}, {"rel_l2": 0.05}), "-o", "cal")
    rows = of_heads(read_table(box.path("cal") / "calibration.h5", "calibration"))
    assert len({row["value"] for row in rows}) > 1
    assert all(row["fit_rel_l2"] < 0.05 and row["value"] == int(row["value"]) and row["file"] == "" for row in rows)
    assert "no file is written" in process.stderr and not list(box.path("cal").glob("*.json"))


def test_paper_search_is_no_cheaper_than_bisection(box):
    rows = calibrate(box, config(box, {"sale": {}, "block_topk": {}}, {"rel_l2": 0.1}, fit="all",
                                 search=["paper", "bisection"], scope=["head", "layer"]))
    assert len(whole(rows)) == 2 * 2 * 2 * 2
    sale = [row for row in of_heads(rows) if row["method"] == "sale"]
    for scope in ("head", "layer"):
        paper, bisection = ([row for row in sale if (row["scope"], row["search"]) == (scope, search)]
                            for search in ("paper", "bisection"))
        assert len(paper) == len(bisection) == 4
        for halved, bisected in zip(paper, bisection):
            assert halved["value"] == 0 or math.log2(0.008 / halved["value"]) % 1 == 0
            assert bisected["fit_density"] <= 1.01 * halved["fit_density"]
    files = {row["file"] for row in sale}
    assert len(files) == 4 and set(box.path("cal").glob("sale*.json")) == {box.path("cal") / name for name in files}
    refused = [row for row in rows if row["method"] != "sale" and row["search"] == "paper"]
    assert {row["status"] for row in refused} == {"unsupported"} and "keeps more" in refused[0]["reason"]


def test_same_heads_on_other_prompts_share_values_that_suit_both(box):
    box.capture("other.h5", p=sinks(7))
    captures = [{"path": "capture.h5", "problems": "p"}, {"path": "other.h5"}]
    both = of_heads(calibrate(box, config(box, {"sale": {}}, {"rel_l2": 0.05}, fit="all", sweep={"datasets": captures})))
    assert len(both) == 4 and [row["value"] for row in both[:2]] == [row["value"] for row in both[2:]]
    assert all(row["fit_rel_l2"] < 0.05 for row in both)
    cells = box.sweep("cal/run.yaml", "--quick")
    assert [remark(cell) for cell in cells] == ["", ""]


def test_held_out_data(box):
    box.capture("other.h5", p=sinks(7))
    path = config(box, {"sale": {}}, {"rel_l2": 0.05}, held_out={"datasets": [{"path": "other.h5"}]})
    rows = [row for row in of_heads(calibrate(box, path)) if row["problem"] == "p"]
    mine, other = rows[:2], rows[2:]
    assert [row["value"] for row in mine] == [row["value"] for row in other]
    assert all(math.isnan(row["fit_rel_l2"]) and row["held_out_rel_l2"] > 0 for row in other)
    cells = box.sweep("cal/run.yaml", "--quick")
    remarks = {Path(cell["dataset"]).name: remark(cell) for cell in cells if cell["problem"] == "p"}
    assert remarks == {"capture.h5": "", "other.h5": "calibrated on other data"}
    for head, row in zip([h for h in box.rows(table="heads") if remark(cells[h["cell"]])], other):
        assert head["rel_l2"] == pytest.approx(row["held_out_rel_l2"], rel=1e-9)
    box.capture("other.h5", q=sinks(7))
    box.fails(2, "calibrate", path, "-o", "again", says=["held-out problem 'q'"])


def test_held_out_data_must_be_other_data(box):
    box.capture("copy.h5", p=sinks(1))
    path = config(box, {"sale": {}}, {"rel_l2": 0.05}, held_out={"datasets": [{"path": "copy.h5"}]})
    box.fails(2, "calibrate", path, "-o", "cal", says=["copy.h5 is, value by value, 'p' of", "hold out another capture"])
    shorter = [{"path": "capture.h5", "problems": "p", "lengths": LENGTH // 2}]
    path = config(box, {"sale": {}}, {"rel_l2": 0.05}, held_out={"datasets": shorter})
    process = box.run("calibrate", path, "-o", "cal", "--dry-run")
    assert f"they share their first {LENGTH // 2}" in process.stderr


def test_unreachable_target(box):
    rows = of_heads(calibrate(box, config(box, {"sale": {}}, {"rel_l2": [1e-9, 0.1]}, fit="all")))
    assert [row["status"] for row in rows if row["target"] == 1e-9] == ["unreachable"] * 4
    assert all(row["value"] == 0 and row["fit_rel_l2"] > 1e-9 for row in rows if row["target"] == 1e-9)
    assert {row["status"] for row in rows if row["target"] == 0.1} == {"ok"}


def test_files_that_do_not_fit(box):
    calibrate(box, config(box, {"sale": {}}, {"rel_l2": 0.05}))
    path = box.path("cal/sale_rel_l2=0.05.json")
    stored = json.loads(path.read_text())
    sweep = box.config({"sale": {"thresholds": str(path)}}, datasets=[{"path": "capture.h5", "problems": "p"}])

    def row_of(code, out, **changes):
        path.write_text(json.dumps({**stored, **changes}))
        return box.sweep(sweep, "--quick", out=out, code=code)[0]

    row = row_of(4, "version", method_version=99)
    assert row["status"] == "unsupported" and "version 99" in row["reason"] and "calibrate again" in row["reason"]
    row = row_of(4, "heads", values={"p": [0.1]})
    assert row["status"] == "unsupported" and "1 heads" in row["reason"]
    row = row_of(4, "method", method="other")
    assert row["status"] == "unsupported" and "other.threshold" in row["reason"]
    row = row_of(1, "unknown", values={"q": [0.1, 0.1]})
    assert row["status"] == "error" and "no values for problem 'p'" in row["reason"] and "it has q" in row["reason"]
    path.write_text("{}")
    assert "not a file of `salebench calibrate`" in box.sweep(sweep, "--quick", out="bad", code=1)[0]["reason"]
    box.fails(5, "run", box.config({"sale": {"thresholds": "none.json"}}), "-o", "none", says=["cannot read"])


def test_copies_of_heads_have_the_values_of_the_first(box):
    calibrate(box, config(box, {"sale": {}}, {"rel_l2": 0.05}))
    sweep = box.config({"sale": {"thresholds": str(box.path("cal/sale_rel_l2=0.05.json"))}},
                       datasets=[{"path": "capture.h5", "repeat": [1, 2]}])
    cells = box.sweep(sweep, "--quick")
    assert cells[0]["rel_l2"] == pytest.approx(cells[1]["rel_l2"], rel=1e-6)
    assert {remark(cell) for cell in cells} == {""}


@pytest.mark.parametrize("methods, section, says", [
    ({"sale": {"threshold": 0.1}}, {}, "methods.sale.threshold: calibration finds the values of threshold"),
    ({"sale": {"thresholds": "x.json"}}, {}, "methods.sale.thresholds"),
    ({"sale": {}}, {"target": {}}, "name a target"),
    ({"sale": {}}, {"target": {"rel_l2": 0}}, "'0' is not a number above 0"),
    ({"sale": {}}, {"target": {"recall": 2}}, "up to 1"),
    ({"sale": {}}, {"target": {"error": 1}}, "calibrate.target.error"),
    ({"sale": {}}, {"scope": "heads"}, "'heads' is not one of head, layer, global"),
    ({"sale": {}}, {"sope": "head"}, "scope"),
])
def test_wrong_configs(box, methods, section, says):
    section = {"target": {"rel_l2": 0.1}, **section}
    box.fails(2, "calibrate", config(box, methods, **section), "-o", "cal", says=[says])


def test_a_sweep_and_a_calibration_are_told_apart(box):
    box.fails(2, "run", config(box, {"sale": {}}, {"rel_l2": 0.1}), says=["calibrate", "salebench calibrate"])
    box.fails(2, "calibrate", box.config({"sale": {}}), says=["calibrate: is missing"])


def test_options(box):
    path = config(box, {"sale": {"bits": [4, 8]}, "block_topk": {}}, {"rel_l2": 0.1})
    listed = box.run("calibrate", path, "--dry-run").stdout.splitlines()
    assert listed == [f"{what} | {name}" for name in "pr" for what in ("sale bits=4", "sale bits=8", "block_topk")]
    rows = calibrate(box, path, "--only", "sale bits=8 | r", "--set", "calibrate.target.rel_l2=0.2")
    assert {(row["method"], row["settings"], row["problem"], row["target"]) for row in rows} == {
        ("sale", "bits=8", "r", 0.2)}
    box.run("calibrate", path, "--only", "none*", code=4)
    box.fails(2, "calibrate", path, "-o", "cal", says=["--force"])
    assert len(calibrate(box, path, "--force", "--only", "sale*")) == 2 * 2 * 3
    assert box.path("cal/run.yaml").exists()
    fruitless = config(box, {"block_topk": {}}, {"rel_l2": 0.1}, name="fruitless.yaml", search="paper")
    assert "no run.yaml" in box.run("calibrate", fruitless, "-o", "cal", "--force", code=4).stderr
    assert not box.path("cal/run.yaml").exists()


def test_methods_that_break_cost_only_their_rows(box):
    path = config(box, {"test_throw": {}, "test_nan": {}, "test_unsupported": {}, "block_topk": {}}, {"rel_l2": 0.1})
    rows = calibrate(box, path, code=1, program=TEST_PROGRAM)
    status = {row["method"]: (row["status"], row["reason"]) for row in rows}
    assert status["test_throw"] == ("error", "the method gave up") and status["block_topk"][0] == "ok"
    assert status["test_nan"][0] == "error" and "output is nan" in status["test_nan"][1]
    assert status["test_unsupported"][0] == "unsupported"


def test_interruption_keeps_what_is_finished(box):
    path = config(box, {"block_topk": {}, "test_slow": {"variant": list(range(100))}}, {"rel_l2": 0.1})
    process = box.start("calibrate", path, "-o", "cal", program=TEST_PROGRAM)
    try:
        wait_for(lambda: box.path("cal/calibration.h5").exists(), "the first result")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=HANG) == 130
    finally:
        box.end_all()
    rows = read_table(box.path("cal/calibration.h5"), "calibration")
    assert rows[0]["method"] == "block_topk" and box.path("cal/run.yaml").exists()


def test_loader(box):
    rows = calibrate(box, config(box, {"sale": {}, "dense": {}}, {"rel_l2": 0.1}))
    frame = results.calibration(box.path("cal"))
    assert len(frame) == len(rows) and set(frame.columns) == set(rows[0]) - {"row"}
    assert frame[frame["head"] >= 0].fit_rel_l2.max() < 0.1
    with h5py.File(box.path("bad.h5"), "w") as file:
        file["x"] = 1
    with pytest.raises(ValueError, match="not a calibration"):
        results.calibration(box.path("bad.h5"))
