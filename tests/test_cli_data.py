"""Captures that are damaged or make no sense: exit code 5 and one line, before anything is measured."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
from cli_helpers import Box, cases, problem


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def refused(box, *says, **dataset):
    """The capture is refused by a run, which makes no output folder."""
    config = box.config({"dense": {}}, [{"path": "capture.h5", **dataset}])
    box.fails(5, "run", config, "-o", "out", says=says)
    assert not box.path("out").exists() and not box.cache.exists()


def set_value(tensor, value):
    def change(parts):
        parts[tensor][0, 17, 5] = value
    return change


def replace(tensor, make):
    def change(parts):
        parts[tensor] = make(parts[tensor])
    return change


# shape and attributes, change of the tensors, what the message names
BAD_TENSORS = {
    "NaN in K": ({}, set_value("k", np.nan), ["p/k holds nan", "head 0, token 17, channel 5"]),
    "NaN in Q": ({}, set_value("q", np.nan), ["p/q holds nan", "head 0, token 17, channel 5"]),
    "Inf in K": ({}, set_value("k", np.inf), ["p/k holds inf", "head 0, token 17, channel 5"]),
    "-Inf in V": ({}, set_value("v", -np.inf), ["p/v holds -inf", "head 0, token 17, channel 5"]),
    "NaN in bfloat16": ({"bfloat16": True}, set_value("k", 0x7fc0), ["p/k holds nan", "token 17"]),
    "heads that do not divide": ({"q_heads": 3, "kv_heads": 2}, None, ["p", "3 query heads", "2 KV heads"]),
    "k and v differ": ({}, replace("v", lambda x: x[:, 1:]), ["p/k is [1, 320, 32]", "v is [1, 319, 32]"]),
    "head_dim differs": ({}, replace("q", lambda x: x[..., :16]), ["p/q has head_dim 16", "32"]),
    "more queries than keys": ({"q_len": 330}, None, ["p", "q_len 330", "kv_len 320"]),
    "no tokens": ({}, replace("q", lambda x: x[:, :0]), ["p", "q_len is 0"]),
    "missing tensor": ({}, lambda parts: parts.pop("v"), ["p", "no dataset 'v'"]),
    "2-D tensor": ({}, replace("q", lambda x: x[0]), ["p/q has 2 dimensions"]),
    "4-D tensor": ({}, replace("q", lambda x: x[None]), ["p/q has 4 dimensions"]),
    "float64": ({}, replace("q", lambda x: x.astype(np.float64)), ["p", "float16", "'q'"]),
    "float64": ({}, replace("k", lambda x: x.astype(np.float64)), ["p", "float16", "'k'"]),
    "int16": ({}, replace("k", lambda x: x.astype(np.int16)), ["p", "float16", "'k'"]),
    "scale NaN": ({"scale": np.nan}, None, ["p", "scale is nan"]),
    "negative scale": ({"scale": -1.0}, None, ["p", "scale is -1"]),
    "scale a text": ({"scale": "big"}, None, ["p", "'scale'"]),
    "scale a list": ({"scale": [0.1, 0.2, 0.3]}, None, ["p", "'scale'"]),
    "causal a text": ({"causal": "yes"}, None, ["p", "'causal'"]),
}


# attributes, what the message names
REFUSED_ATTRIBUTES = {
    "scale of 0": ({"scale": 0.0}, ["scale is 0", "without the attribute"]),
    "bias": ({"bias": True}, ["attribute 'bias' changes attention", "leave it out"]),
    "ALiBi": ({"ALiBi": 1}, ["'ALiBi'"]),
    "slopes of ALiBi": ({"alibi-slopes": [0.5, 0.25]}, ["'alibi-slopes'"]),
    "a bias that is in nothing": ({"attention_bias": "applied"}, ["'attention_bias'"]),
    "QK-norm left to do": ({"qk_norm": "left to do"}, ["'qk_norm'", "as the attention function receives them"]),
    "temperature": ({"temperature": 2.0}, ["'temperature'", "scale"]),
    "other name of the scale": ({"softmax_scale": 0.1}, ["'softmax_scale'", "say scale instead"]),
    "other name of causal": ({"is_causal": False}, ["'is_causal'", "say causal instead"]),
    "mask": ({"attention_mask": "left"}, ["'attention_mask'", "first_key"]),
    "other name of the window": ({"sliding_window": 512}, ["'sliding_window'", "say window"]),
    "other name of the softcap": ({"attn_logit_softcapping": 50.0}, ["say softcap"]),
    "sinks as an attribute": ({"sinks": [0.1, 0.2]}, ["'sinks' is read as a dataset only"]),
    "upper case": ({"Window": 64}, ["'Window' is not read; write it 'window'"]),
    "RoPE left to do": ({"rope": "not applied"}, ["'rope'", "neither 'applied' nor 'none'"]),
    "RoPE false": ({"rope": False}, ["'rope'"]),
}


@pytest.mark.parametrize("attributes, says", cases(REFUSED_ATTRIBUTES))
def test_attributes_that_would_change_attention(box, attributes, says):
    box.capture(good=problem(), p=problem(**attributes))
    refused(box, "capture.h5", "problems/p", *says)


@pytest.mark.parametrize("name, says", [("alibi_slopes", ["dataset 'alibi_slopes' changes attention"]),
                                        ("mask", ["dataset 'mask'", "first_key"]),
                                        ("scale", ["dataset 'scale' is not read", "attribute"])])
def test_datasets_that_would_change_attention(box, name, says):
    edit(box, lambda file: file.create_dataset(f"problems/p/{name}", data=[1.0]))
    refused(box, "capture.h5", "problems/p", *says)


def test_attributes_that_say_that_nothing_is_left(box):
    box.capture(p=problem(bias=False, alibi="none", qk_norm="applied", temperature=1.0, is_causal=True, rope="applied",
                          mask="none"))
    assert box.run("list", "datasets", "capture.h5").stderr == ""


def test_unknown_attributes_are_warned_of_once_a_file(box):
    box.capture(a=problem(colour="red", kv_len=64), b=problem(seed=2, kv_len=64, colour="blue", weight=2.5))
    box.capture("other.h5", c=problem(seed=3, kv_len=64, licence="MIT", heads="two"))
    with h5py.File(box.path("capture.h5"), "a") as file:
        file.create_dataset("problems/b/lse", data=[1.0])
    config = box.config({"dense": {}}, [{"path": path} for path in ("capture.h5", "other.h5", "capture.h5")])
    for arguments in (["run", config, "--dry-run"], ["check", "capture.h5"], ["list", "datasets", "capture.h5"]):
        lines = box.run(*arguments).stderr.splitlines()
        assert len(lines) == 1 and "capture.h5: its problems say 'colour', 'lse', 'weight'" in lines[0], lines
        assert lines[0].startswith("salebench: warning: ")


@pytest.mark.parametrize("shape, change, says", cases(BAD_TENSORS))
def test_bad_problem(box, shape, change, says):
    parts = problem(**shape)
    if change:
        change(parts)
    box.capture(good=problem(), p=parts)
    refused(box, "capture.h5", *says)


def test_bfloat16_without_its_attribute(box):
    """uint16 alone says nothing of what the bits mean."""
    path = box.capture(p=problem(bfloat16=True))
    with h5py.File(path, "a") as file:
        del file["problems/p/k"].attrs["dtype"]
    refused(box, "capture.h5", "p", "k", "dtype")


def edit(box, change):
    with h5py.File(box.capture(), "a") as file:
        change(file)


BAD_FILES = {
    "other format": (lambda file: file.attrs.update(format="x"), ["not a capture", "'x'"]),
    "no format": (lambda file: file.attrs.pop("format"), ["not a capture"]),
    "other version": (lambda file: file.attrs.update(format_version=2), ["version 2", "reads 1"]),
    "version a text": (lambda file: file.attrs.update(format_version="one"), ["format_version"]),
    "no group": (lambda file: file.pop("problems"), ["'problems'"]),
    "no problems": (lambda file: file["problems"].pop("p"), ["no problems"]),
    "dangling link": (lambda file: file.update({"problems/q": h5py.SoftLink("/gone")}), ["'q'"]),
}


@pytest.mark.parametrize("change, says", cases(BAD_FILES))
def test_bad_file(box, change, says):
    edit(box, change)
    refused(box, "capture.h5", *says)
    box.fails(5, "list", "datasets", "capture.h5", says=["capture.h5", *says])


def test_missing_file(box):
    refused(box, "capture.h5", "No such file")


def test_not_hdf5(box):
    box.path("capture.h5").write_text("tensors\n" * 1000)
    refused(box, "capture.h5", "not an HDF5 file")


def test_folder(box):
    box.path("capture.h5").mkdir()
    refused(box, "capture.h5", "it is a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_permission(box):
    box.capture().chmod(0)
    refused(box, "capture.h5", "Permission denied")


def test_locked(box):
    """A notebook that has the capture open for writing: HDF5's lock, not the file, is the cause."""
    with h5py.File(box.capture(), "r+"):
        refused(box, "capture.h5", "is locked: process", f"{os.getpid()} (", "pytest", "close it there")
    box.run("list", "datasets", "capture.h5")


def test_writer_that_was_killed(box):
    box.capture()
    code = ("import h5py, os; f = h5py.File('capture.h5', 'a', libver='latest'); f.create_dataset('x', data=[1]); "
            "f.flush(); os._exit(0)")
    with h5py.File(box.path("capture.h5"), "r") as old, h5py.File(box.path("new.h5"), "w", libver="latest") as new:
        new.attrs.update(old.attrs)
        old.copy("problems", new)
    box.path("new.h5").rename(box.path("capture.h5"))
    subprocess.run([sys.executable, "-c", code], cwd=box.folder, check=True)
    refused(box, "capture.h5", "marked as open for writing", "h5clear -s")


def test_filter_that_is_not_there(box):
    path = box.capture(p=problem())
    with h5py.File(path, "a") as file:
        k = np.zeros_like(file["problems/p/k"][()])
        del file["problems/p/k"]
        file.create_dataset("problems/p/k", data=k, chunks=k.shape, compression="lzf")
    refused(box, "capture.h5", "p", "'k'", "compressed with 'lzf'", "gzip")


def bfloat16_type(big_endian):
    """HDF5's own type, which h5py has no name for."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    kind.set_order(h5py.h5t.ORDER_BE if big_endian else h5py.h5t.ORDER_LE)
    return kind


def store_as(group, kind, bits):
    """Replaces q, k and v by bytes of an HDF5 type."""
    for name, x in bits.items():
        del group[name]
        dataset = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(x.shape))
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, x, mtype=kind)


def test_every_way_to_store_bfloat16_is_the_same_problem(box):
    """Values that float16 lacks: 70144 reads as infinity there, 2.142e-7 as 1.192e-7."""
    parts = problem(bfloat16=True)
    for name in "qkv":
        parts[name][0, :2, 0] = 0x4789, 0x3466
    path = box.capture(p=parts)
    bits = {name: parts[name] for name in "qkv"}
    opaque = h5py.h5t.create(h5py.h5t.OPAQUE, 2)
    opaque.set_tag(b"")
    ways = {"uint16": None, "little": bfloat16_type(False), "big": bfloat16_type(True), "opaque": opaque}
    seen = set()
    for way, kind in ways.items():
        if kind is not None:
            with h5py.File(path, "a") as file:
                store_as(file["problems/p"], kind, {n: x.byteswap() if way == "big" else x for n, x in bits.items()})
            if way == "opaque":
                refused_opaque = box.fails(5, "list", "datasets", "capture.h5", says=["'q' is 2 bytes of no type"])
                assert "set its attribute dtype to 'bfloat16'" in refused_opaque
                with h5py.File(path, "a") as file:
                    for name in "qkv":
                        file[f"problems/p/{name}"].attrs["dtype"] = "bfloat16"
        row, = box.sweep(box.config({"dense": {}}), "--quick", "--force")
        assert row["dtype"] == "bfloat16"
        seen.add((row["fingerprint"], row["id"]))
    assert len(seen) == 1


@pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_scale_of_any_float_type(box, kind):
    box.capture(p=problem(scale=np.array(0.1, kind)[()]), q=problem(scale=float(np.array(0.1, kind))))
    config = box.config({"dense": {}}, [{"path": "capture.h5", "problems": ["p"]}])
    one = box.sweep(config, "--quick", out="p")[0]["fingerprint"]
    config = box.config({"dense": {}}, [{"path": "capture.h5", "problems": ["q"]}])
    assert box.sweep(config, "--quick", out="q")[0]["fingerprint"] == one


@pytest.mark.parametrize("share", [0, 0.001, 0.02, 0.1, 0.5, 0.9, 0.9999])
def test_truncated_file(box, share):
    path = box.capture()
    whole = path.read_bytes()
    path.write_bytes(whole[:int(share * len(whole))])
    refused(box, "capture.h5", "truncated")


def test_overwritten_compressed_data(box):
    path = box.capture()
    with h5py.File(path, "a") as file:
        k = file["problems/p/k"][()]
        del file["problems/p/k"]
        dataset = file.create_dataset("problems/p/k", data=k, chunks=k.shape, compression="gzip")
        chunk = dataset.id.get_chunk_info(0)
    damaged = bytearray(path.read_bytes())
    damaged[chunk.byte_offset + 20:chunk.byte_offset + 60] = b"\xff" * 40
    path.write_bytes(damaged)
    refused(box, "capture.h5", "p", "'k'")


@pytest.mark.parametrize("dataset, says", [
    ({"lengths": [64, 321]}, ["p", "320 tokens", "321"]),
    ({"problems": ["x*"]}, ["x*", "known: p"]),
    ({"problems": ["p", "pp"]}, ["'pp'", "did you mean 'p'?"]),
])
def test_no_such_data(box, dataset, says):
    box.capture()
    refused(box, *says, **dataset)


@pytest.mark.parametrize("names, found", [
    (["layers[3]"], ["layers[3]"]),
    (["layers[4]", "layers[3]"], ["layers[4]", "layers[3]"]),
    (["layers[[]*"], ["layers[3]", "layers[4]"]),
    (["layers[34]"], ["layers3"]),
    (["*"], ["layers3", "layers[3]", "layers[4]"]),
])
def test_ids_with_brackets(box, names, found):
    box.capture(**{name: problem(kv_len=64, seed=i) for i, name in enumerate(["layers[3]", "layers[4]", "layers3"])})
    box.capture("other.h5", other=problem(kv_len=64, seed=9))
    for verb, more in {"run": {}, "calibrate": {"calibrate": {"target": {"rel_l2": 0.1}, "scope": "layer"}}}.items():
        config = box.config({"sale": {}}, [{"path": "capture.h5", "problems": names}, {"path": "other.h5"}], **more)
        lines = [line for line in box.run(verb, config, "--dry-run").stdout.splitlines() if " | " in line]
        assert [line.split(" | ")[1].split()[0].strip(",") for line in lines] == [*found, "other"]
        for label in (line.split("  ")[-1] for line in lines):  # which is exact before it is a glob
            only = box.run(verb, config, "--dry-run", "--only", label).stdout
            assert label in only and only.count(" | ") == 1, only
    refused(box, "layers[5]", "did you mean 'layers[3]'?", problems=["layers[5]"])


def test_prefix_before_the_queries(box):
    box.capture(p=problem(q_len=100))
    refused(box, "p", "220", lengths=[220])


def test_second_capture_is_checked_too(box):
    box.capture()
    config = box.config({"dense": {}}, [{"path": "capture.h5"}, {"path": "none.h5"}])
    box.fails(5, "run", config, "-o", "out", says=["none.h5"])
    assert not box.path("out").exists()


def test_cell_notices_a_capture_that_changes_under_it(box):
    """The plan is made from one capture, the cell is run on another: an error, not a number."""
    config = box.config({"dense": {}})
    row = box.sweep(config)[0]
    box.capture(p=problem(seed=2))
    box.run("cell", "out", row["id"])
    box.run("collect", "out")
    row = box.rows()[0]
    assert row["status"] == "error" and "capture.h5 has changed" in row["reason"]
