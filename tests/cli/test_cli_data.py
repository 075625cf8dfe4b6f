"""Captures that are damaged or make no sense: exit code 5 and one line, before anything is measured."""

import h5py
import numpy as np
import pytest
from cli_helpers import cases, problem, refused


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
    "float64 in Q": ({}, replace("q", lambda x: x.astype(np.float64)), ["p", "float16", "'q'"]),
    "float64 in K": ({}, replace("k", lambda x: x.astype(np.float64)), ["p", "float16", "'k'"]),
    "int16": ({}, replace("k", lambda x: x.astype(np.int16)), ["p", "float16", "'k'"]),
    "scale NaN": ({"scale": np.nan}, None, ["p", "scale is nan"]),
    "negative scale": ({"scale": -1.0}, None, ["p", "scale is -1"]),
    "scale a text": ({"scale": "big"}, None, ["p", "'scale'"]),
    "scale a list": ({"scale": [0.1, 0.2, 0.3]}, None, ["p", "'scale'"]),
    "window of attention in both directions": ({"window": 5, "causal": False}, None, ["p", "window of 5", "not causal"]),
    "negative window": ({"window": -1}, None, ["p", "window is -1"]),
    "half a window": ({"window": 2.5}, None, ["p", "window is 2.5"]),
    "all padding": ({"first_key": 320}, None, ["p", "first_key is 320", "padding"]),
    "negative softcap": ({"softcap": -3.0}, None, ["p", "softcap is -3"]),
    "logits beyond float32": ({}, lambda parts: parts.update({n: np.float32(1e20) * parts[n].astype(np.float32)
                                                              for n in "qk"}), ["p", "logits may reach", "float32"]),
    "causal a text": ({"causal": "yes"}, None, ["p", "'causal'"]),
}


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
        words = [line.split(" | ")[1].split() for line in lines]  # a sweep's labels begin with the data set
        assert [(w[1] if w[0].endswith(".h5") else w[0]).strip(",") for w in words] == [*found, "other"]
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
