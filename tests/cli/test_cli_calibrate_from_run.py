"""scripts/calibrate_from_run: of the values of a sweep each head gets the cheapest that meets the target."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli_calibrate import box, results  # noqa: F401  (box is a fixture)

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "calibrate_from_run"
VALUES = [0.0001, 0.001, 0.01, 0.1]


def script(box, *arguments, code=0):  # noqa: F811
    done = subprocess.run([sys.executable, SCRIPT, *arguments], cwd=box.path("."), capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_heads_get_the_cheapest_value_of_the_sweep(box):  # noqa: F811
    methods = {"dense": {}, "sale": {"threshold": VALUES, "bits": [4, 8]}, "block_topk": {"budget": 0.5}}
    box.sweep(box.config(methods, datasets=[{"path": "capture.h5"}]), "--quick", out="sweep")
    said = script(box, "sweep", "--target", "0.05", "-o", "values")
    files = sorted(box.path("values").iterdir())
    assert [f.name for f in files] == ["sale_0_rel_l2_0.05.json", "sale_1_rel_l2_0.05.json"]  # block_topk had one value
    assert said.count("sale on cpu by threshold") == 2 and said.count("of 4 values") == 4
    run = results.load(box.path("sweep"))
    for bits, file in zip((4, 8), files):
        stored = json.loads(file.read_text())
        assert stored["settings"]["bits"] == str(bits) and stored["target"] == {"rel_l2": 0.05}
        for place in stored["problems"]:
            cells = run.cells[[problem == place["problem"] and json.loads(params).get("bits") == str(bits)
                               for problem, params in zip(run.cells.problem, run.cells.params)]]
            for head, (value, fit) in enumerate(zip(stored["values"][place["problem"]], place["fit"])):
                heads = run.heads[run.heads.cell.isin(cells.cell) & (run.heads["head"] == head)]
                good = heads[heads.rel_l2 <= 0.05]
                assert not good.empty and fit["density"] == good.density.min() and fit["rel_l2"] <= 0.05
                assert value in VALUES
    cells = box.sweep(box.config({"sale": [{"bits": b, "thresholds": str(f)} for b, f in zip((4, 8), files)]},
                                 datasets=[{"path": "capture.h5"}], name="again.yaml"), "--quick", out="again")
    assert len(cells) == 4
    for cell in cells:
        assert cell["rel_l2_worst"] <= 0.05
        place = next(p for f in files for p in [json.loads(f.read_text())] if f.name in cell["settings"])
        fit = next(p["fit"] for p in place["problems"] if p["problem"] == cell["problem"])
        assert cell["density"] == pytest.approx(sum(f["density"] for f in fit) / len(fit), rel=1e-6)


def test_a_head_that_no_value_serves_is_named(box):  # noqa: F811
    box.sweep(box.config({"sale": {"threshold": VALUES}}, datasets=[{"path": "capture.h5", "problems": "p"}]), "--quick")
    assert "no value serves heads 0, 1" in script(box, "out", "--target", "1e-9")
    run = results.load(box.path("out"))
    stored = json.loads(box.path("out/sale_0_rel_l2_1e-09.json").read_text())
    least = run.heads[run.heads.cell.isin(run.cells.cell)].groupby("head").rel_l2.min()
    assert [fit["rel_l2"] for fit in stored["problems"][0]["fit"]] == list(least)


def test_a_run_without_several_values_is_refused(box):  # noqa: F811
    shared = {"streaming": {"local": [128, 512]}, "sale": {}, "dense": {}}
    box.sweep(box.config(shared, datasets=[{"path": "capture.h5", "problems": "p"}]), "--quick")
    said = script(box, "out", "--target", "0.05", code=1)
    assert "several values" in said and "streaming: its heads share one value" in said


def test_lengths_of_one_problem_are_refused_before_a_file_is_written(box):  # noqa: F811
    lengths = [{"path": "capture.h5", "problems": "p", "lengths": [600, 1200]}]
    box.sweep(box.config({"sale": {"threshold": VALUES}}, datasets=lengths), "--quick")
    assert "several lengths" in script(box, "out", "--target", "0.05", "-o", "values", code=1)
    assert not box.path("values").exists()


def test_cells_with_values_from_a_file_take_no_part(box):  # noqa: F811
    here = [{"path": "capture.h5", "problems": "p"}]
    box.sweep(box.config({"sale": {"threshold": VALUES}}, datasets=here), "--quick")
    script(box, "out", "--target", "0.05")
    file = str(box.path("out/sale_0_rel_l2_0.05.json"))
    box.sweep(box.config({"sale": {"threshold": VALUES[:2], "thresholds": file}}, datasets=here, name="b.yaml"), "--quick",
              out="from_file")
    assert "several values" in script(box, "from_file", "--target", "0.05", code=1)


def test_what_is_no_run_is_refused_in_a_line(box):  # noqa: F811
    box.path("text").write_text("no run")
    for name in ("missing", "text"):
        said = script(box, name, "--target", "0.05", code=1)
        assert f"{name} is no run of salebench" in said and said.count("\n") == 1
