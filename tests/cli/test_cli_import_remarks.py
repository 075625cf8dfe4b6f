"""salebench import: what is stored beside q, k and v, and what looks wrong and is warned of."""

import h5py
import numpy as np
import pytest
from cli_helpers import cases, read_capture, save_npys, tensors


def imported(box, arrays, *options):
    """What the import of these says on stderr, and the attributes that it writes."""
    np.savez(box.path("a.npz"), **arrays)
    said = box.run("import", "a.npz", "-o", "a.h5", "--force", *options).stderr
    return said, read_capture(box.path("a.h5"))[2]


def test_mask_options_are_kept(box):
    said, attributes = imported(box, tensors(), "--window", 64, "--first-key", 5, "--softcap", 30)
    assert said == ""
    assert {name: attributes[name] for name in ("window", "first_key", "softcap")} == {
        "window": 64, "first_key": 5, "softcap": 30}
    assert not {"window", "first_key", "softcap"} & set(imported(box, tensors())[1])
    box.fails(2, "import", "a.npz", "-o", "b.h5", "--first-key", 192, says=["--first-key 192: there are 192 keys"])
    box.fails(2, "import", "a.npz", "-o", "b.h5", "--window", 9, "--non-causal", says=["--window", "--non-causal"])


@pytest.mark.parametrize("where", ["key", "file", "one file", "three files"])
def test_output_of_the_model(box, where):
    """Stored beside q, in its layout; `check` compares it."""
    arrays = tensors()
    q, k, v = (arrays[name].astype(np.float64) for name in "qkv")
    logits = np.where(np.tri(192, dtype=bool), q @ k.transpose(0, 2, 1) / np.sqrt(32), -np.inf)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    output = (weights / weights.sum(-1, keepdims=True) @ v).astype(np.float16)
    laid = {name: np.ascontiguousarray(x.transpose(1, 0, 2)) for name, x in {**arrays, "mine": output}.items()}
    np.savez(box.path("all.npz"), **laid)
    np.save(box.path("o.npy"), laid["mine"])
    np.savez(box.path("o.npz"), attention_output=laid["mine"])
    inputs = save_npys(box, {name: laid[name] for name in "qkv"}) if where == "three files" else ["all.npz"]
    option = {"key": "mine", "file": "o.npy", "one file": "o.npz", "three files": "o.npy"}[where]
    box.run("import", *inputs, "-o", "a.h5", "--layout", "lhd", "--output", option)
    with h5py.File(box.path("a.h5")) as file:
        stored, = (group["output"] for group in file["problems"].values())
        np.testing.assert_array_equal(stored, output)
        assert stored.attrs["dtype"] == "float16"
    assert "of the model's own" in box.run("check", "a.h5").stdout


WRONG_OUTPUT = {
    "no such key": (5, ["all.npz", "--output", "outt"], ["no tensor 'outt'", "did you mean 'out'?"]),
    "no such file": (2, ["q.npy", "k.npy", "v.npy", "--output", "gone"], ["gone", "only .npy"]),
    "other shape": (5, ["all.npz", "--output", "out"], ["2 heads x 191 tokens", "2 heads x 192", "shaped as q", "hld"]),
    "the output file": (2, ["all.npz", "--output", "new.h5"], ["both input and output"]),
}


@pytest.mark.parametrize("code,arguments,says", cases(WRONG_OUTPUT))
def test_wrong_output(box, code, arguments, says):
    arrays = tensors()
    save_npys(box, arrays)
    np.savez(box.path("all.npz"), **arrays, out=arrays["q"][:, 1:])
    if "new.h5" in arguments:
        box.path("new.h5").write_text("mine")
    box.fails(code, "import", *arguments, "-o", "new.h5", "--force", says=says)


def with_zeros(begin=0, end=0, names="qkv", **shape):
    arrays = tensors(**shape)
    for name in names:
        arrays[name][:, :begin] = 0
        arrays[name][:, arrays[name].shape[1] - end:] = 0
    return arrays


# tensors, layout, what the warning says; None for no warning
REMARKS = {
    "plain": (tensors(), "hld", None),
    "left padding": (with_zeros(60), "hld", ["first rows are zeros", "60 of q, 60 of k, 60 of v", "--first-key 60"]),
    "zeros of k alone": (with_zeros(3, names="k"), "hld", ["(3 of k)", "--first-key 3"]),
    "zeros of q alone": (with_zeros(3, names="q"), "hld", ["(3 of q)", "--first-key 3"]),
    "right padding": (with_zeros(0, 50), "hld", ["last rows are zeros", "50 of q", "lengths: [142]"]),
    "zeros of one head": ({**tensors(q_heads=2, kv_heads=2), **{"k": np.concatenate(
        [tensors()["k"], with_zeros(60)["k"]])}}, "hld", None),
    "nothing but zeros": (with_zeros(192, names="v"), "hld", ["v holds nothing but zeros"]),
    "more heads than tokens": (tensors(q_heads=64, kv_heads=64, length=8), "hld", ["64 heads of 8 tokens", "layout lhd?"]),
    "tokens first": ({name: x.transpose(1, 0, 2) for name, x in tensors(q_heads=64, kv_heads=64, length=8).items()},
                     "lhd", ["64 heads of 8 tokens", "layout hld?"]),
    "as many heads as tokens": (tensors(q_heads=24, kv_heads=24, length=24), "hld", ["fits layout lhd as well as hld"]),
    "one token": (tensors(q_heads=1, kv_heads=1, length=1), "hld", None),
    "a row of queries": ({**tensors(q_heads=8, kv_heads=2), "q": tensors(q_heads=8, length=1)["q"]}, "hld", None),
}


@pytest.mark.parametrize("arrays,layout,says", cases(REMARKS))
def test_what_looks_wrong_is_warned_of(box, arrays, layout, says):
    said, _ = imported(box, {name: np.ascontiguousarray(x) for name, x in arrays.items()}, "--layout", layout)
    if says is None:
        assert said == ""
    else:
        assert said.count("\n") == 1 and said.startswith("salebench: warning: "), said
        assert not [text for text in says if text not in said], f"{says} in {said}"


def test_padding_that_is_stated_is_not_warned_of(box):
    assert imported(box, with_zeros(60), "--first-key", 60)[0] == ""
    assert "--first-key 60" in imported(box, with_zeros(60), "--first-key", 59)[0]
    shorter = {name: x[:, 100:] if name == "q" else x for name, x in with_zeros(120).items()}
    assert "(20 of q, 120 of k, 120 of v)" in imported(box, shorter)[0]
    # Lengths count after the padding that is stated.
    assert "lengths: [82]" in imported(box, with_zeros(60, 50), "--first-key", 60)[0]
    assert box.run("check", "a.h5", "--length", 82).stdout


def test_rows_in_another_order_than_the_shape_says(box):
    """What safetensors.numpy saves of a transposed view. Heads have means of their own, by which the order shows."""
    rng = np.random.default_rng(1)
    arrays = {name: (rng.standard_normal((6, 300, 32)) + rng.standard_normal((6, 1, 32))).astype(np.float16)
              for name in "qkv"}
    assert imported(box, arrays)[0] == ""
    tokens_first = {name: np.ascontiguousarray(x.transpose(1, 0, 2)) for name, x in arrays.items()}
    assert imported(box, tokens_first, "--layout", "lhd")[0] == ""
    said, _ = imported(box, {name: x.reshape(6, 300, 32) for name, x in tokens_first.items()})
    assert "the rows of q, k, v seem to be in the order of layout lhd, not hld" in said
    assert "np.ascontiguousarray" in said
