"""Many layers and captures with little typing: import of several layers, globs, labels, ranges, and `salebench init`."""

import h5py
import numpy as np
import pytest

from cli_helpers import cases, problem, tensors


def layers(numbers, names=("q", "k", "v")):
    """{(layer, name): tensor}"""
    return {(layer, name): x for layer in numbers
            for name, x in zip(names, tensors(seed=layer, length=96).values())}


def contents(box, name):
    with h5py.File(box.path(name)) as file:
        return {key: (group["q"][()], int(group.attrs.get("layer", -1))) for key, group in file["problems"].items()}


NAMES = {
    "files of a folder": ("layer{}_{}", "qkv", True),
    "folders of a folder": ("{}/{}", "qkv", True),
    "the word first": ("{1}_{0}", "qkv", True),
    "a file of all": ("model.layers.{}.self_attn.{}_states", ("query", "key", "value"), False),
    "words in capitals": ("L{}.{}", "QKV", False),
}


@pytest.mark.parametrize("template, names, is_folder", cases(NAMES))
def test_layers_are_told_by_their_names(box, template, names, is_folder):
    arrays = {template.format(*key): x for key, x in layers([2, 10], names).items()}
    if is_folder:
        for name, x in arrays.items():
            box.path(f"dumps/{name}.npy").parent.mkdir(parents=True, exist_ok=True)
            np.save(box.path(f"dumps/{name}.npy"), x)
    else:
        np.savez(box.path("dumps.npz"), **arrays)
    said = box.run("import", "dumps" if is_folder else "dumps.npz", "-o", "mine.h5", "--model", "m").stdout
    found = contents(box, "mine.h5")
    assert {key: layer for key, (_, layer) in found.items()} == {"layer02": 2, "layer10": 10} and said.count("mine.h5") == 2
    for layer in (2, 10):
        np.testing.assert_array_equal(found[f"layer{layer:02}"][0], tensors(seed=layer, length=96)["q"])


def test_keys_tell_layers_where_names_do_not(box):
    arrays = {f"act.{layer}.{name}": x for (layer, name), x in layers([0, 1], ("in0", "in1", "in2")).items()}
    np.savez(box.path("odd.npz"), **arrays, mask=np.ones((2, 4, 4), np.float32))
    box.fails(5, "import", "odd.npz", "-o", "mine.h5", says=["no names of tensors say q, k or v", "{layer}"])
    keys = "q=act.{layer}.in0,k=act.{layer}.in1,v=act.{layer}.in2"
    warned = box.run("import", "odd.npz", "-o", "mine.h5", "--keys", keys).stderr
    assert set(contents(box, "mine.h5")) == {"layer00", "layer01"} and "1 tensors are left out" in warned


def test_the_output_of_each_layer_is_stored(box):
    arrays = {f"layer{layer}.{name}": x for (layer, name), x in layers([0, 1]).items()}
    arrays |= {f"layer{layer}.out": arrays[f"layer{layer}.q"] for layer in (0, 1)}
    np.savez(box.path("all.npz"), **arrays)
    box.run("import", "all.npz", "-o", "mine.h5", "--output", "out")
    with h5py.File(box.path("mine.h5")) as file:
        for layer in (0, 1):
            np.testing.assert_array_equal(file[f"problems/layer0{layer}/output"], arrays[f"layer{layer}.q"])


def test_a_layer_without_a_tensor_is_named(box):
    arrays = {f"layer{layer}_{name}": x for (layer, name), x in layers([0, 1]).items()}
    del arrays["layer1_v"]
    np.savez(box.path("all.npz"), **arrays)
    box.fails(5, "import", "all.npz", "-o", "mine.h5", says=["layer1_", "has no v"])
    assert not box.path("mine.h5").exists()
    for words in (["--id", "x"], ["--layer", "3"]):
        box.fails(2, "import", "all.npz", "-o", "mine.h5", *words, says=["--id and --layer are of one problem"])


def test_append_adds_to_a_capture(box):
    for seed, name in enumerate("ab"):
        np.savez(box.path(f"{name}.npz"), **tensors(seed=seed))
    box.run("import", "a.npz", "-o", "mine.h5", "--append")
    box.run("import", "b.npz", "-o", "mine.h5", "--append")
    assert list(contents(box, "mine.h5")) == ["a", "b"]
    before = box.path("mine.h5").read_bytes()
    box.fails(2, "import", "b.npz", "-o", "mine.h5", "--append", says=["has a problem 'b' already"])
    box.fails(2, "import", "b.npz", "-o", "mine.h5", says=["--append adds to it, --force overwrites it"])
    box.fails(2, "import", "b.npz", "-o", "mine.h5", "--append", "--force", says=["not both"])
    box.path("text.h5").write_text("no capture")
    box.fails(5, "import", "b.npz", "-o", "text.h5", "--append", says=["text.h5"])
    assert box.path("mine.h5").read_bytes() == before and not list(box.folder.glob("*.tmp.*"))


def test_a_path_may_be_a_glob_with_a_label(box):
    for seed, name in enumerate(("a1", "a2", "b")):
        box.capture(f"{name}.h5", p=problem(seed=seed, kv_len=64), **({"only": problem(seed=9, kv_len=64)} if seed == 1 else {}))
    config = box.config({"dense": {}, "block_topk": {"budget": 0.5, "label": "ours"}},
                        [{"path": "a?.h5", "label": "pair", "problems": ["p", "only"]}, {"path": "b.h5", "label": "b"}])
    rows = box.sweep(config, "--quick")
    assert {(r["dataset_label"], r["problem"]) for r in rows} == {("pair/a1", "p"), ("pair/a2", "p"), ("pair/a2", "only"), ("b", "p")}
    assert {(r["method"], r["label"]) for r in rows} == {("dense", ""), ("block_topk", "ours")}
    text = box.run("report", "out").stdout
    assert "pair/a2 only" in text and " ours " in text and "block_topk" not in text
    box.fails(5, "run", box.config({"dense": {}}, [{"path": "a?.h5", "problems": ["none*"]}]), says=["no capture of", "none*"])
    box.fails(2, "run", box.config({"dense": {}}, [{"path": "a1.h5", "label": "x"}, {"path": "b.h5", "label": "x"}]),
              says=["datasets.1.label", "that of another capture"])


def test_a_new_label_is_no_new_cell(box):
    box.sweep(box.config({"dense": {}, "block_topk": {"budget": 0.5}}), "--quick")
    rows = box.sweep(box.config({"dense": {}, "block_topk": {"budget": 0.5, "label": "now"}}), "--quick", "--resume")
    assert [r["label"] for r in rows] == ["", "now"]


RANGES = {
    "linear": ({"from": 0.1, "to": 0.3, "steps": 3}, ["0.1", "0.2", "0.3"]),
    "log": ({"from": 0.05, "to": 0.4, "steps": 4, "scale": "log"}, ["0.05", "0.1", "0.2", "0.4"]),
    "to four digits": ({"from": 0.1, "to": 0.2, "steps": 4}, ["0.1", "0.1333", "0.1667", "0.2"]),
    "downwards": ({"from": 0.4, "to": 0.2, "steps": 2}, ["0.4", "0.2"]),
}


@pytest.mark.parametrize("axis, values", cases(RANGES))
def test_a_range_is_an_axis(box, axis, values):
    said = box.run("run", box.config({"block_topk": {"budget": axis}}), "--dry-run").stdout
    assert [line.split("budget=")[1].split()[0] for line in said.splitlines() if "budget=" in line] == values


def test_a_range_of_whole_numbers_is_rounded_and_has_each_once(box):
    said = box.run("run", box.config({"streaming": {"local": {"from": 1, "to": 3, "steps": 9}}}), "--dry-run").stdout
    assert [line.split("local=")[1].split()[0] for line in said.splitlines() if "local=" in line] == ["1", "2", "3"]
    datasets = [{"path": "capture.h5", "lengths": {"from": 64, "to": 256, "steps": 3, "scale": "log"}}]
    said = box.run("run", box.config({"dense": {}}, datasets), "--dry-run").stdout
    assert [line.split()[-1] for line in said.splitlines()[:3]] == ["64", "128", "256"]


BAD_RANGES = {
    "no steps": ({"from": 1, "to": 2}, "budget.steps: is missing"),
    "log of nothing": ({"from": 0, "to": 1, "steps": 3, "scale": "log"}, "both ends must be above 0"),
    "one step": ({"from": 0.1, "to": 1, "steps": 1}, "1 is outside 2 to 1000"),
    "halves of a whole number": ({"from": 0.5, "to": 2.5, "steps": 3}, "whole numbers"),
    "unknown key": ({"from": 0.1, "to": 1, "step": 3}, "steps"),
    "out of the method's range": ({"from": 0.5, "to": 2, "steps": 3}, "budget"),
}


@pytest.mark.parametrize("axis, says", cases(BAD_RANGES))
def test_a_bad_range_is_refused(box, axis, says):
    methods = {"streaming": {"local": axis}} if "whole" in says else {"block_topk": {"budget": axis}}
    box.fails(2, "run", box.config(methods), "--dry-run", says=[says])


def test_init_writes_a_config_that_runs(box):
    box.capture("one.h5", layer00=problem(kv_len=4096, dim=32), layer01=problem(kv_len=4096, dim=32, seed=2))
    box.path("configs").mkdir()
    said = box.run("init", "one.h5", "-o", "configs/one.yaml").stdout
    assert "salebench run configs/one.yaml --dry-run" in said
    text = box.path("configs/one.yaml").read_text()
    active = [line.split("#")[0].strip() for line in text.splitlines()]
    assert {'- path: "../one.h5"', "lengths: [1024, 4096]", "dense: {}"} <= set(active)
    assert [line for line in active if line.startswith("sale: {threshold: [")]
    box.fails(2, "init", "one.h5", "-o", "configs/one.yaml", says=["--force overwrites it"])
    everything = text.replace("\n  # ", "\n  ")  # with the methods that are comments, and no other words
    box.path("all.yaml").write_text(everything.replace("../one.h5", "one.h5"))
    plan = box.run("run", "all.yaml", "--dry-run").stdout
    assert "0 skipped" in plan and "xattention" in plan and "oracle_topp" in plan
    box.fails(5, "init", "no.h5", says=["no.h5"])


def test_init_says_what_can_not_run(box):
    box.capture("odd.h5", p=problem(kv_len=2048, causal=False))
    box.run("init", "odd.h5")
    lines = [line for line in box.path("odd.yaml").read_text().splitlines() if "streaming" in line or "not here" in line]
    assert any("causal" in line for line in lines)


def test_three_files_are_taken_by_their_names(box):
    """A shell's *.npy is in the order k, q, v; with as many heads of each nothing else would tell."""
    arrays = tensors(q_heads=2, kv_heads=2)
    for name, x in arrays.items():
        np.save(box.path(f"layer0_{name}.npy"), x)
    said = box.run("import", "layer0_k.npy", "layer0_q.npy", "layer0_v.npy", "-o", "mine.h5").stderr
    assert "taken by their names" in said
    with h5py.File(box.path("mine.h5")) as file:
        for name in "qkv":
            np.testing.assert_array_equal(file[f"problems/mine/{name}"][()], arrays[name])
    for layer in (1, 2):
        np.save(box.path(f"layer{layer}_q.npy"), arrays["q"])
    box.fails(5, "import", *(f"layer{layer}_q.npy" for layer in range(3)), "-o", "bad.h5", says=["by their names both are q"])


def test_keys_that_name_nothing_are_named(box):
    np.savez(box.path("all.npz"), **{f"layer{layer}.{name}": x for (layer, name), x in layers([0, 1]).items()})
    keys = "q=layer{layer}.q,k=layer{layer}.k,v=layer{layer}.values"
    box.fails(5, "import", "all.npz", "-o", "mine.h5", "--keys", keys, says=["has no tensor v, as layer{layer}.values names it"])
    box.fails(2, "import", "all.npz", "-o", "mine.h5", "--keys", "q=layer{layer}.q,k=layer{layer}.k", says=["says no v=NAME"])


def test_a_batch_that_is_left_out_is_said(box):
    for name, x in tensors().items():
        np.save(box.path(f"{name}.npy"), np.stack([x, x]))
    said = box.run("import", "q.npy", "k.npy", "v.npy", "-o", "mine.h5", "--layout", "bhld").stderr
    assert "of 2 batches the first is taken; --batch picks another" in said


def test_a_label_is_of_one_method_and_one_line(box):
    grids = {"dense": {}, "block_topk": {"budget": 0.2, "label": "A"}, "streaming": {"local": 64, "label": "A"}}
    box.fails(2, "run", box.config(grids), "--dry-run", says=["streaming.label", "'A' is that of another method"])
    grids = {"dense": {}, "block_topk": {"budget": 0.2, "label": "sale"}}
    box.fails(2, "run", box.config(grids), "--dry-run", says=["'sale' is that of another method"])
    grids = {"dense": {}, "block_topk": {"budget": 0.2, "label": "A\nB"}}
    box.fails(2, "run", box.config(grids), "--dry-run", says=["must be one line"])
    grids = {"block_topk": [{"budget": [0.1, 0.2], "label": "A"}, {"budget": [0.2, 0.3], "label": "B"}]}
    said = box.run("run", box.config(grids), "--dry-run")
    assert "block_topk budget=0.2 is asked for as 'A' and as 'B'" in said.stderr and said.stdout.count("budget=") == 3
    said = box.run("run", box.config({"dense": {}, "block_topk": {"budget": [0.2, 0.4], "label": "ours"}}), "--quick",
                   "-o", "ours", "--only", "ours")
    assert [row["label"] for row in box.rows("ours")] == ["ours", "ours"]


def test_init_refuses_what_nothing_can_run(box):
    box.capture("wide.h5", p=problem(dim=512, kv_len=64))
    box.fails(2, "init", "wide.h5", says=["no method takes p of wide.h5", "head_dim 512"])
    box.capture("mine.h5", p=problem())
    before = box.path("mine.h5").read_bytes()
    box.fails(2, "init", "mine.h5", "-o", "mine.h5", "--force", says=["is the capture"])
    assert box.path("mine.h5").read_bytes() == before
