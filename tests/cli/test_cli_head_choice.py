"""`calibrate: {heads_choose: true}`: each head gets the cheapest scan, and `run` measures what they chose."""

import json

import numpy as np
import pytest
from test_cli_calibrate import box, calibrate, config, of_heads, remark, results  # noqa: F401  (box is a fixture)


def test_heads_choose_the_cheapest_scan(box):  # noqa: F811
    grid = {"sale_pooled": {"row_pool": [1, 8], "key_pool": [1, 4], "precision": "fp8", "threshold_scaling": "none"}}
    captures = [{"path": "capture.h5", "problems": "p", "repeat": [1, 2]}]
    path = config(box, grid, {"rel_l2": 0.05}, fit="all", heads_choose="true", sweep={"datasets": captures})
    rows = of_heads(calibrate(box, path))
    chosen = [row for row in rows if row["settings"].endswith("heads choose")]
    assert len(rows) == 4 * 2 + 2 and len(chosen) == 2
    name = "sale_pooled_threshold_scaling=none_heads_choose_rel_l2=0.05.json"
    assert {row["file"] for row in chosen} == {name}
    stored = json.loads(box.path(f"cal/{name}").read_text())

    def cost(row):
        values = dict(pair.split("=") for pair in row["settings"].split())
        return 0.25 / int(values["row_pool"]) / int(values["key_pool"]) + row["fit_density"]

    for head, (row, scan) in enumerate(zip(chosen, stored["head_settings"]["p"])):
        offers = [other for other in rows if other["head"] == head and other not in chosen and other["status"] == "ok"]
        best = min(offers, key=cost)
        assert (row["value"], row["fit_density"], row["status"]) == (best["value"], best["fit_density"], "ok")
        assert f"row_pool={scan['row_pool']} " in best["settings"] and f"key_pool={scan['key_pool']} " in best["settings"]
        assert stored["values"]["p"][head] == row["value"]
    cells = [cell for cell in box.sweep("cal/run.yaml", "--quick") if name in cell["settings"]]
    assert [remark(cell) for cell in cells] == ["heads have scans of their own"] * 2
    assert results.scan_share(results.load(box.path("out")).cells).isna().sum() == 2
    for cell in cells:
        assert cell["density"] == pytest.approx(np.mean([row["fit_density"] for row in chosen]), rel=1e-3)
        assert cell["rel_l2_worst"] <= 0.05

    stored["head_settings"]["p"] = stored["head_settings"]["p"][:1]
    sweep = box.config({"sale_pooled": {"scans": str(box.path("bad.json"))}}, datasets=captures[:1])
    for settings, says in ((stored["head_settings"]["p"], "1 scans"), ([{"row_pool": "3"}] * 2, "row_pool")):
        box.path("bad.json").write_text(json.dumps({**stored, "head_settings": {"p": settings}}))
        row = box.sweep(sweep, "--quick", out=says.replace(" ", "_"), code=1)[0]
        assert row["status"] == "error" and says in row["reason"], row["reason"]


def test_heads_without_a_choice_are_refused(box):  # noqa: F811
    two = {"sale_pooled": {"row_pool": [1, 8]}}
    for grid, options, says in ((two, {"scope": "layer"}, "scope: head"), ({"sale": {}}, {}, "no method has two settings"),
                                ({"sale_pooled": {"local_blocks": [1, 2]}}, {}, "row_pool, key_pool")):
        path = config(box, grid, {"rel_l2": 0.05}, heads_choose="true", **options)
        result = box.run("calibrate", path, "--dry-run", code=2)
        assert "calibrate.heads_choose" in result.stderr and says in result.stderr, result.stderr


def test_settings_that_write_a_default_out_are_offered_too(box):  # noqa: F811
    grid = {"sale_pooled": [{"row_pool": 1}, {"row_pool": 8, "attend": "exact"}]}
    path = config(box, grid, {"rel_l2": 0.05}, fit="all", heads_choose="true")
    rows = of_heads(calibrate(box, path))
    assert {row["settings"] for row in rows} == {"row_pool=1", "attend=exact row_pool=8", "heads choose"}


def test_dense_kernels_of_devices_stand_in_the_sweep(box):  # noqa: F811
    grid = {"dense": {"kernel": ["ours", "flashinfer"]}, "block_topk": {}}
    path = config(box, grid, {"rel_l2": 0.5}, sweep={"backend": ["cuda"]})
    calibrate(box, path)
    assert "kernel: flashinfer" in box.path("cal/run.yaml").read_text()
