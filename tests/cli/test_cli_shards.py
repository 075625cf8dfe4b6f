"""One sweep on several machines: shards, bringing them together, and backends that a machine lacks."""

import json

import pytest

from cli_helpers import ACCURACY, problem

HAS_NO_GPU = "its cells are left for another machine"


@pytest.fixture
def config(box):
    box.capture(a=problem(kv_len=512), b=problem(kv_len=320, seed=2), c=problem(kv_len=64, seed=3))
    return box.config({"dense": {}, "block_topk": {"budget": [0.2, 0.5]}},
                      measure={"warmup": 0, "min_time": 0, "max_time": 0.01, "min_samples": 2, "rounds": 2})


def ids(box, out):
    return [row["id"] for row in box.rows(out)]


def test_shards_make_the_whole(box, config):
    whole = box.sweep(config, out="whole")
    parts = []
    for number in (1, 2, 3):
        box.run("run", config, "--shard", f"{number}/3")
        parts.append(ids(box, f"runs/test.{number}of3"))
    assert sorted(sum(parts, [])) == sorted(row["id"] for row in whole)
    said = box.run("collect", *(f"runs/test.{n}of3" for n in (3, 1, 2)), "-o", "merged").stdout
    assert "18 cells of 3 folders, measured on" in said
    merged = box.rows("merged")
    for one, other in zip(merged, whole, strict=True):
        for name in ("cell", "id", "status", "round", "problem", "node", *ACCURACY):
            assert one[name] == other[name] or one[name] != one[name], name
    assert repr(box.rows("merged", "heads")) == repr(box.rows("whole", "heads"))  # NaN are not equal
    before = {row["id"]: row["finished_utc"] for row in merged}
    again = box.sweep(config, "--resume", out="merged")
    assert {row["id"]: row["finished_utc"] for row in again} == before


def test_rounds_of_a_cell_are_of_one_shard_and_shards_are_balanced(box, config):
    for number in (1, 2, 3):
        box.run("run", config, "--shard", f"{number}/3", "--quick", "-o", f"s{number}")
        rows = box.rows(f"s{number}")
        assert len(rows) == 6
        assert all(len({r["round"] for r in rows if (r["params"], r["problem"], r["method"]) == key}) == 2
                   for key in {(r["params"], r["problem"], r["method"]) for r in rows})


def test_a_shard_that_is_missing_is_said(box, config):
    for number in (1, 3):
        box.run("run", config, "--shard", f"{number}/3", "--quick", "-o", f"s{number}")
    said = box.run("collect", "s1", "s3", "-o", "merged", code=1).stderr
    assert "shards 2/3 are not there; 6 cells of the sweep are missing" in said
    assert len(ids(box, "merged")) == 12
    box.fails(2, "collect", "s1", "s3", "-o", "merged", says=["merged exists", "--force"])
    box.run("run", config, "--shard", "2/3", "--quick", "-o", "s2")
    box.run("collect", "s1", "s2", "s3", "-o", "merged", "--force")
    assert len(ids(box, "merged")) == 18


def test_of_a_cell_of_two_folders_the_good_one_counts(box, config):
    box.run("run", config, "--quick", "-o", "bad")
    plan = json.loads(box.path("bad/plan.json").read_text())
    first = plan["cells"][0]["id"]
    box.path(f"bad/cells/{first}.h5").unlink()
    box.run("run", config, "--quick", "-o", "good", "--only", first)
    assert "1 cells were not run to their end" in box.run("collect", "bad", "-o", "alone", code=1).stderr
    box.run("collect", "bad", "good", "-o", "merged")
    assert {row["status"] for row in box.rows("merged")} == {"ok"}


def test_what_is_no_part_of_the_sweep_is_refused(box, config):
    box.run("run", config, "--quick", "-o", "s1", "--shard", "1/2")
    box.run("run", box.config({"dense": {}}, name="other.yaml"), "--quick", "-o", "other")
    box.fails(2, "collect", "s1", "other", "-o", "merged", says=["different configs"])
    box.fails(2, "collect", "s1", "other", says=["-o names it"])
    box.fails(2, "collect", "s1", "-o", "s1", "--force", says=["both a part and the whole"])
    box.path("mine").mkdir()
    box.path("mine/letter.txt").write_text("dear")
    box.fails(2, "collect", "s1", "-o", "mine", "--force", says=["is this the output folder"])
    assert box.path("mine/letter.txt").exists() and not box.path("merged").exists()
    for text in ("3/2", "0/2", "x", "1/", "1/2/3"):
        box.fails(2, "run", config, "--shard", text, says=[f"--shard {text}"])


def test_cells_of_a_missing_backend_wait_for_another_machine(box):
    config = box.config({"dense": {}}, backend=["cpu", "cuda"])
    dry = box.run("run", config, "--dry-run")
    if HAS_NO_GPU not in dry.stderr:
        pytest.skip("this machine has a GPU")
    assert "1 cells to run, 1 skipped" in dry.stdout
    rows = box.sweep(config)
    assert [row["status"] for row in rows] == ["ok", "unsupported"] and "not on this machine" in rows[1]["reason"]
    assert not box.path(f"out/cells/{rows[1]['id']}.h5").exists()
    box.fails(5, "run", box.config({"dense": {}}, backend=["cuda"]), "-o", "none", says=["backend cuda", "--set backend=cpu"])
    assert "the plan of a machine that has it" in box.run("run", box.config({"dense": {}}, backend=["cuda"]), "--dry-run").stderr


def test_devices_are_numbers_or_all(box):
    for value in ("all", 0, [1, 0]):
        box.run("run", box.config({"dense": {}}, devices=value), "--dry-run")
    for value, says in (("both", "devices"), ([0, 0], "0 is there twice"), ([-1], "-1 is outside")):
        box.fails(2, "run", box.config({"dense": {}}, devices=value), "--dry-run", says=[says])


def test_more_shards_than_cells_are_no_fault(box):
    config = box.config({"dense": {}}, measure={"warmup": 0, "min_time": 0, "max_time": 0, "min_samples": 1})
    for number, code in ((1, 0), (2, 4)):
        box.run("run", config, "--shard", f"{number}/2", "-o", f"s{number}", code=code)
    said = box.run("collect", "s1", "-o", "merged")
    assert "1 cells of 1 folders" in said.stdout and not said.stderr


def test_collecting_an_unfinished_run_says_so(box, config):
    rows = box.sweep(config, "--quick")
    box.path(f"out/cells/{rows[0]['id']}.h5").unlink()
    assert "1 of them were not run to their end" in box.run("collect", "out", code=1).stderr
