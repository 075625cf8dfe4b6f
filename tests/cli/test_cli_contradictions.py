"""Captures whose stored output is of another convention than ours: `check` fails and names it, `run` marks the rows."""

import os

import h5py
import numpy as np
import pytest
from cli_helpers import lines_of

SCALE, WINDOW = 0.125, 24
LENGTHS = [64, 700, *map(int, os.environ.get("SALEBENCH_LONG_LENGTHS", "").split())]

# How the engine that made the output attends, and what the message must name.
CONVENTIONS = {
    "tiled": (dict(tiled=True), "KV heads are tiled"),
    "aligned": (dict(first=True), "aligned at the first token"),
    "scale": (dict(scale=1 / 64), "its scale is 0.015625"),
    "odd scale": (dict(scale=0.2), "its scale is about 0.2"),
    "full": (dict(causal=False), "not causal"),
    "window one less": (dict(window=WINDOW - 1), f"store window = {WINDOW - 1}"),
    "window one more": (dict(window=WINDOW + 1), f"store window = {WINDOW + 1}"),
}


def rounded(x, dtype):
    if dtype == "bfloat16":  # to nearest, ties away: no figure here depends on them
        return ((x.astype(np.float32).view(np.uint32) + 0x8000) & 0xffff0000).view(np.float32)
    return x.astype(dtype).astype(np.float32)


def attend(q, k, v, scale=SCALE, causal=True, window=0, tiled=False, first=False):
    """Of [heads, len, dim] in float64, in pieces of rows."""
    out = np.empty(q.shape)
    q_len, kv_len, group = q.shape[1], k.shape[1], len(q) // len(k)
    for head in range(len(q)):
        keys, values = (x[head % len(k) if tiled else head // group].astype(float) for x in (k, v))
        for begin in range(0, q_len, 256):
            rows = np.arange(begin, min(begin + 256, q_len))
            position = rows + (0 if first else kv_len - q_len)
            distance = position[:, None] - np.arange(kv_len)
            seen = (distance >= 0) | (not causal)
            if window:
                seen &= distance < window
            s = np.where(seen, scale * (q[head, rows].astype(float) @ keys.T), -np.inf)
            p = np.exp(s - s.max(axis=1, keepdims=True))
            out[head, rows] = (p / p.sum(axis=1, keepdims=True)) @ values
    return out


def write(box, dtype, length, stored_window=0, **convention):
    """A capture that says it is ours, with the output of the convention."""
    rng = np.random.default_rng(length)
    q_len = length - length // 4
    q, k, v = (rounded(rng.standard_normal(shape), dtype)
               for shape in ((4, q_len, 64), (2, length, 64), (2, length, 64)))
    output = rounded(attend(q, k, v, **{"window": stored_window, **convention}), dtype)
    with h5py.File(box.path("capture.h5"), "w") as file:
        file.attrs.update(format="salebench.capture", format_version=1)
        group = file.create_group("problems/p")
        group.attrs.update(scale=SCALE, causal=True, **({"window": stored_window} if stored_window else {}))
        for name, x in dict(q=q, k=k, v=v, output=output).items():
            bits = (x.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else x.astype(dtype)
            group.create_dataset(name, data=bits).attrs["dtype"] = dtype


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("window", [0, WINDOW])
def test_our_own_convention_passes(box, dtype, length, window):
    write(box, dtype, length, stored_window=window)
    assert "double precision is within" in box.run("check", "capture.h5").stdout


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", CONVENTIONS)
def test_another_convention_is_named(box, dtype, length, name):
    convention, says = CONVENTIONS[name]
    write(box, dtype, length, stored_window=WINDOW if "window" in name else 0, **convention)
    box.fails(5, "check", "capture.h5", says=["p: its output differs by", says])


@pytest.mark.parametrize("one", [-1, 1])
def test_a_wide_window_one_off_is_named_though_rounding_could_explain_it(box, one):
    write(box, "bfloat16", 700, stored_window=400, window=400 + one)
    box.fails(5, "check", "capture.h5", "--length", 600, says=["p: its output differs by", f"store window = {400 + one}"])


def test_what_all_logits_of_a_row_share_is_rounded_with_them(box):
    """A model that stores logits in bfloat16 loses there what a shared key component adds to all of them."""
    write(box, "bfloat16", 64)
    with h5py.File(box.path("capture.h5"), "r+") as file:
        group = file["problems/p"]
        q, k, v = ((group[name][()].astype(np.uint32) << 16).view(np.float32) for name in "qkv")
        q[..., 0], k[..., 0] = 16, 64  # adds 128 to each logit
        s = np.where(np.arange(64) <= np.arange(16, 64)[:, None], SCALE * q @ np.repeat(k, 2, 0).swapaxes(1, 2), -np.inf)
        p = np.exp(rounded(s, "bfloat16") - s.max(-1, keepdims=True))
        output = p / p.sum(-1, keepdims=True) @ np.repeat(v, 2, 0)
        for name, x in {"q": q, "k": k, "output": output}.items():
            group[name][:] = (rounded(x, "bfloat16").view(np.uint32) >> 16).astype(np.uint16)
    assert "double precision is within" in box.run("check", "capture.h5").stdout


def test_what_nothing_explains_fails_too(box):
    write(box, "float16", 64)
    with h5py.File(box.path("capture.h5"), "r+") as file:
        output = file["problems/p/output"]
        output[:] = output[()][:, ::-1]
    box.fails(5, "check", "capture.h5", says=["neither head order, alignment, window nor scale explains it"])


def test_run_warns_and_marks_the_rows(box):
    write(box, "float16", 64, tiled=True)
    process = box.run("run", box.config({"dense": {}}), "-o", "out")
    assert "KV heads are tiled" in lines_of(process.stderr)[0]
    assert [row["status"] for row in box.rows()] == ["ok"]
    assert all("the capture contradicts itself" in row["reason"] for row in box.rows())
