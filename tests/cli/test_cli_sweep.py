"""What a run measures and stores: views, samples of rows, masks, options, the truth cache, the dry run."""

import json
import math
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_helpers import ACCURACY, cases, problem, write_capture

SPARSE = {"streaming": {"sink": 16, "local": 64}, "block_topk": {"budget": 0.3}}


def by_method(rows):
    return {row["method"]: row for row in rows}


def stored(path):
    """Arrays and attributes of an HDF5 file; its bytes hold times as well."""
    with h5py.File(path) as file:
        return {name: data[()].tolist() for name, data in file.items()} | dict(file.attrs)


def metrics(rows):
    return {row["method"]: [row[column] for column in ACCURACY] for row in rows}


def assert_all_ok(rows):
    assert [row["status"] for row in rows] == ["ok"] * len(rows)


def test_results(box):
    """Every row of run.h5 is filled in, and its numbers agree with each other."""
    config = box.config({"dense": {}, **SPARSE})
    rows = box.sweep(config, "--note", "a note")
    assert_all_ok(rows)
    for row in rows:
        assert (row["q_heads"], row["kv_heads"], row["q_len"], row["kv_len"], row["head_dim"]) == (2, 1, 320, 320, 32)
        assert (row["layer"], row["dtype"], row["cache"], row["baseline"]) == (3, "float16", "hot", "dense")
        assert row["timing_usable"] == 1 and row["samples"] >= 2 and row["dense_s"] > 0 and row["bytes_peak"] > 0
        assert row["total_lo_s"] <= row["total_s"] <= row["total_hi_s"]
        assert row["speedup"] == pytest.approx(row["dense_s"] / row["total_s"])
        assert 0 < row["density"] <= 1 and row["recall_min"] <= row["recall_p05"] <= row["recall_mean"] <= 1 + 1e-6
        assert row["flops_executed"] >= row["density"] * row["flops_dense"] * (1 - 1e-9)
        phases = [s["phase"] for s in box.rows(table="samples") if s["cell"] == row["cell"]]
        selects = row["method"] != "dense"
        assert math.isnan(row["select_s"]) != selects and row["selected_on"] == ("cpu" if selects else "")
        assert {phase: phases.count(phase) for phase in ("select", "attend", "dense")} == {
            "select": selects * row["samples"], "attend": row["samples"], "dense": row["samples"]}
        heads = [head for head in box.rows(table="heads") if head["cell"] == row["cell"]]
        assert [head["head"] for head in heads] == [0, 1]
        assert np.mean([head["recall_mean"] for head in heads]) == pytest.approx(row["recall_mean"])
    assert by_method(rows)["dense"]["rel_l2"] < 1e-5 and by_method(rows)["dense"]["density"] == 1
    assert [(p["id"], p["model"], p["layer"]) for p in box.rows(table="problems")] == [("p", "tiny", 3)]
    with h5py.File(box.path("out/run.h5")) as file:
        assert file.attrs["format"] == "salebench.results" and file.attrs["note"] == "a note"
        assert "--note" in file.attrs["argv"] and "block_topk" in file.attrs["config_yaml"]
        assert {"program", "host"} <= json.loads(file.attrs["provenance"]).keys()
        assert file["cells/total_s"].attrs["units"] == "s"


def test_bfloat16_and_float16_of_the_same_values(box):
    box.capture(half=problem(), brain=problem(bfloat16=True))
    both = box.sweep(box.config({"dense": {}, **SPARSE}))
    rows = {name: [row for row in both if row["problem"] == name] for name in ("half", "brain")}
    assert len(rows["half"]) == len(rows["brain"]) == 3
    assert {row["dtype"] for row in rows["half"]} == {"float16"}
    assert {row["dtype"] for row in rows["brain"]} == {"bfloat16"}
    assert {row["fingerprint"] for row in rows["half"]} == {row["fingerprint"] for row in rows["brain"]}
    assert metrics(rows["half"]) == metrics(rows["brain"])


def test_equal_problems_of_two_files_are_measured_once_and_named(box):
    for name in ("a.h5", "b.h5"):
        box.capture(name)
    config = box.config({"dense": {}}, [{"path": "a.h5"}, {"path": "b.h5"}])
    process = box.run("run", config, "-o", "out")
    assert [Path(row["dataset"]).name for row in box.rows()] == ["a.h5"]
    assert any("problem p of" in line and "b.h5 equals that of" in line for line in process.stderr.splitlines())


def test_lengths_and_repeat(box):
    datasets = [{"path": "capture.h5", "lengths": [200, 320], "repeat": [1, 3]}]
    box.capture()
    rows = box.sweep(box.config(SPARSE, datasets))
    assert_all_ok(rows)
    assert sorted((row["kv_len"], row["repeat"], row["q_heads"], row["kv_heads"]) for row in rows) == sorted(
        2 * [(200, 1, 2, 1), (200, 3, 6, 3), (320, 1, 2, 1), (320, 3, 6, 3)])
    assert len({row["fingerprint"] for row in rows}) == 4
    for length in (200, 320):
        once, thrice = (metrics(r for r in rows if (r["kv_len"], r["repeat"]) == (length, n)) for n in (1, 3))
        for method in SPARSE:
            values = dict(zip(ACCURACY, once[method])), dict(zip(ACCURACY, thrice[method]))
            for column in ACCURACY:
                factor = 3 if column.startswith("flops") else 1
                assert values[1][column] == pytest.approx(factor * values[0][column], rel=1e-6), column


def test_prefix_is_the_problem_of_that_length(box):
    """A prefix and a capture of just that prefix are the same problem."""
    parts = problem()
    box.capture(p=parts)
    prefix = {**parts, **{name: parts[name][:, :200] for name in "qkv"}}
    write_capture(box.path("prefix.h5"), {"p": prefix})
    rows = [box.sweep(box.config(SPARSE, [dataset]), out=out) for out, dataset in (
        ("a", {"path": "capture.h5", "lengths": 200}), ("b", {"path": "prefix.h5"}))]
    assert metrics(rows[0]) == metrics(rows[1])
    assert rows[0][0]["fingerprint"] == rows[1][0]["fingerprint"]


def test_chunked_prefill(box):
    box.capture(p=problem(q_len=100, kv_len=333))
    rows = box.sweep(box.config({"dense": {}, **SPARSE, "sale": {}}))
    assert_all_ok(rows)
    assert {(row["q_len"], row["kv_len"]) for row in rows} == {(100, 333)}
    assert by_method(rows)["dense"]["rel_l2"] < 1e-5 and by_method(rows)["streaming"]["recall_mean"] < 0.9
    expected = 4 * 32 * 2 * sum(range(333 - 100 + 1, 334))
    assert by_method(rows)["dense"]["flops_dense"] == expected


def test_non_causal(box):
    box.capture(p=problem(causal=False))
    rows = by_method(box.sweep(box.config({"dense": {}, "block_topk": {}, "sale": {}})))
    assert {name: row["status"] for name, row in rows.items()} == {
        "dense": "ok", "block_topk": "ok", "sale": "unsupported"}
    assert "causal" in rows["sale"]["reason"] and rows["dense"]["rel_l2"] < 1e-5


def test_truth_rows(box):
    config = {rows: box.config(SPARSE, truth={"rows": rows}, name=f"{rows}.yaml") for rows in (0, 50, 1000)}
    rows = {n: by_method(box.sweep(path, out=f"out{n}"))["streaming"] for n, path in config.items()}
    assert {n: row["truth_rows"] for n, row in rows.items()} == {0: 320, 50: 50, 1000: 320}
    assert rows[50]["density"] == rows[0]["density"]
    assert rows[50]["recall_mean"] != rows[0]["recall_mean"]
    assert rows[50]["recall_mean"] == pytest.approx(rows[0]["recall_mean"], abs=0.1)
    assert rows[1000]["recall_mean"] == rows[0]["recall_mean"]


def test_threads(box):
    rows = {n: box.sweep(box.config(SPARSE, threads=n), "--quick", out=f"out{n}") for n in (1, 2, 0)}
    assert {n: rows[n][0]["threads"] for n in rows} == {1: 1, 2: 2, 0: len(os.sched_getaffinity(0))}
    for method in SPARSE:
        assert metrics(rows[1])[method] == pytest.approx(metrics(rows[2])[method], rel=1e-5)


def test_quick(box):
    row, = box.sweep(box.config({"streaming": {}}), "--quick")
    assert (row["status"], row["timing_usable"], row["samples"]) == ("ok", 0, 1)
    assert "quick" in box.run("report", "out").stdout


def test_in_process_is_the_same(box):
    config = box.config({"dense": {}, **SPARSE})
    rows = box.sweep(config), box.sweep(config, "--in-process", out="out2")
    assert metrics(rows[0]) == metrics(rows[1])
    assert [row["id"] for row in rows[0]] == [row["id"] for row in rows[1]]


def test_repro_command(box):
    """The command that a row gives for repeating it does repeat it, whatever OMP_NUM_THREADS is by then."""
    rows = box.sweep(box.config({"dense": {}, "streaming": {"local": [64, 96]}}))
    box.env["OMP_NUM_THREADS"] = "1" if rows[0]["threads"] > 1 else "2"
    words = rows[1]["repro"].replace("'", "").split()
    assert words[0] == "salebench"
    box.run(*words[1:])
    assert metrics(box.rows("out-repeat")) == metrics(rows[1:2])


@pytest.mark.parametrize("glob, settings", [
    ("streaming*", ["local=64", "local=96"]),
    ("*local=96*", ["local=96"]),
    ("dense | p 320", [""]),
])
def test_only(box, glob, settings):
    config = box.config({"dense": {}, "streaming": {"local": [64, 96]}})
    assert [row["settings"] for row in box.sweep(config, "--quick", "--only", glob)] == settings


def test_only_without_a_match(box):
    process = box.run("run", box.config({"dense": {}}), "--only", "nope*", "-o", "out", code=4)
    assert "nope*" in process.stderr and not box.path("out").exists()


def test_default_folder_and_quiet(box):
    process = box.run("run", box.config({"dense": {}}), "--quick", "-q")
    assert box.path("runs/test/run.h5").exists() and "ok 1" not in process.stderr


def test_masks(box):
    box.capture(p=problem(q_len=130, kv_len=333))
    rows = by_method(box.sweep(box.config(SPARSE, save=["masks"])))
    with h5py.File(box.path("out/run.h5")) as file:
        masks = {name: file[f"masks/{row['id']}/bits"] for name, row in rows.items()}
        bits = {name: mask[()] for name, mask in masks.items()}
        attributes = {name: dict(mask.attrs) for name, mask in masks.items()}
    for name, row in rows.items():
        block_q, block_k, k_blocks = (int(attributes[name][a]) for a in ("block_q", "block_k", "k_blocks"))
        q_blocks = math.ceil(130 / block_q)
        assert bits[name].dtype == np.uint32 and bits[name].shape == (2, q_blocks, math.ceil(k_blocks / 32))
        assert k_blocks == math.ceil(333 / block_k)
        kept = np.unpackbits(bits[name].astype("<u4").view(np.uint8), axis=-1, bitorder="little")
        ends = [min(k_blocks, math.ceil((333 - 130 + min(130, (b + 1) * block_q)) / block_k)) for b in range(q_blocks)]
        assert not any(kept[:, b, end:].any() for b, end in enumerate(ends))
        assert kept.sum() / (2 * sum(ends)) == pytest.approx(row["tile_density"])
    assert (attributes["streaming"]["window_sink"], attributes["streaming"]["window_local"]) == (16, 64)
    assert "window_sink" not in attributes["block_topk"]


def test_no_masks_unless_asked_for(box):
    box.sweep(box.config({"streaming": {}}), "--quick")
    with h5py.File(box.path("out/run.h5")) as file:
        assert "masks" not in file


# The truth cache: damaged files are computed anew.

DAMAGES = {
    "empty": (lambda data, other: b"",),
    "truncated": (lambda data, other: data[:len(data) // 2],),
    "text": (lambda data, other: b"not a truth\n" * 100,),
    "of another problem": (lambda data, other: other,),
    "overwritten": (lambda data, other: data[:len(data) // 2] + bytes(64) + data[len(data) // 2 + 64:],),
}


@pytest.mark.parametrize("damage", cases(DAMAGES))
def test_damaged_truth_is_computed_again(box, damage):
    config = box.config(SPARSE)
    expected = metrics(box.sweep(config))
    path, = (box.cache / "truth").glob("*.h5")
    good, truth = path.read_bytes(), stored(path)
    write_capture(box.path("other.h5"), {"p": problem(seed=9)})
    box.sweep(box.config(SPARSE, [{"path": "other.h5"}], name="other.yaml"), out="other")
    other, = (p for p in (box.cache / "truth").glob("*.h5") if p != path)
    path.write_bytes(damage(good, other.read_bytes()))
    assert path.read_bytes() != good
    assert metrics(box.sweep(config, out="again")) == expected
    assert stored(path) == truth, "the damaged file was not replaced"


def test_dry_run(box):
    box.capture(causal=problem(), bidirectional=problem(causal=False))
    axis = [round(0.001 * (i + 1), 3) for i in range(50)]
    config = box.config({"sale": {"threshold": axis}, "block_topk": {"budget": axis}})
    process = box.run("run", config, "--dry-run")
    lines = process.stdout.splitlines()
    assert sum(line.startswith("run ") for line in lines) == 150
    skipped = [line for line in lines if line.startswith("skip ")]
    assert len(skipped) == 50 and all("bidirectional" in line and "causal attention only" in line for line in skipped)
    assert lines[-1].startswith("150 cells to run, 50 skipped; about ")
    assert not box.cache.exists() and not box.path("runs").exists() and process.stderr == ""
    listed = {line.split()[1] for line in lines[:-1]}
    assert len(listed) == 200


def test_a_capture_that_moved_between_two_halves_of_a_run_is_one_place(box):
    box.path("old").mkdir()
    box.capture("old/capture.h5", p=problem())
    config = box.config({"dense": {}, "streaming": {}}, [{"path": "capture.h5", "lengths": [128, 256]}], "old/config.yaml")
    box.sweep(config, "--only", "* 128")
    box.path("old").rename(box.path("new"))
    rows = box.sweep("new/config.yaml", "--resume")
    assert [row["status"] for row in rows] == ["ok"] * 4
    assert {row["dataset"] for row in rows} == {row["path"] for row in box.rows(table="problems")}
    assert {row["dataset"] for row in rows} == {str(box.path("new/capture.h5"))}
    assert {line.split()[0] for line in box.run("report", "out").stdout.splitlines()[2:6]} == {"p"}


def test_several_only_and_skip(box):
    config = box.config({"dense": {}, "streaming": {"local": [64, 96]}, "sale": {}})
    rows = box.sweep(config, "--quick", "--only", "dense*", "--only", "streaming*", "--skip", "*local=64*")
    assert [(row["method"], row["settings"]) for row in rows] == [("dense", ""), ("streaming", "local=96")]
    near = box.run("run", config, "--dry-run", "--only", "streming local=96", "--only", "dense*")
    assert "nothing matches --only 'streming local=96' (did you mean 'streaming local=96'?)" in near.stderr
    assert "1 cells to run" in near.stdout
    assert "no cell is left to run" in box.run("run", config, "--skip", "*", code=4).stderr
