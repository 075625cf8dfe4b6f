"""What a capture says of its problems: read, refused by name, or warned of; never passed over in silence."""

import h5py
import numpy as np
import pytest
from cli_helpers import cases, problem, refused


# attributes, what the message names
REFUSED_ATTRIBUTES = {
    "scale of 0": ({"scale": 0.0}, ["scale is 0", "without it"]),
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
    "causal is no number": ({"causal": float("nan")}, ["causal is nan", "not 0 or 1"]),
    "causal of 2": ({"causal": 2}, ["causal is 2"]),
    "layer out of range": ({"layer": 1e12}, ["layer is", "leave it out"]),
    "window of -1": ({"window": -1}, ["window is -1", "leave it out"]),
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
    with h5py.File(box.capture(), "a") as file:
        file.create_dataset(f"problems/p/{name}", data=[1.0])
    refused(box, "capture.h5", "problems/p", *says)


@pytest.mark.parametrize("place", ["/", "problems", "problems/p/q", "problems/p/v"])
@pytest.mark.parametrize("name", ["window", "softmax_scale"])
def test_attention_said_of_other_objects_than_problems(box, place, name):
    with h5py.File(box.capture(), "a") as file:
        file[place].attrs[name] = 64
    refused(box, "capture.h5", f"attribute '{name}' is not heeded there", "/problems/<id>")


def test_attributes_of_no_encoding_are_kept(box):
    box.capture(p=problem(colour=np.bytes_(b"caf\xe9"), model=np.bytes_(b"\xff")))
    rows = box.sweep(box.config({"dense": {}}))
    assert rows[0]["status"] == "ok" and "caf" in box.rows(table="problems")[0]["attributes"]
    for arguments in (["check", "capture.h5", "--json"], ["report", "out", "--format", "json"]):
        box.run(*arguments)


def test_tensors_of_several_types(box):
    parts = problem()
    box.capture(p={**parts, "k": parts["k"].astype(np.float32)})
    row = box.sweep(box.config({"dense": {}}))[0]
    assert row["dtype"] == "mixed" and row["status"] == "ok"


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
