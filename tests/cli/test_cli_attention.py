"""Problems whose attention is not plain: sliding windows and padding are honoured, softcap and sinks refused by name."""

import h5py
import numpy as np
import pytest
from cli_helpers import problem

SCALE = 0.125
METHODS = {"dense": {}, "streaming": {"sink": 3, "local": 40}, "block_topk": {"budget": 0.4, "block": "64x32"},
           "xattention": {}}


def first_seen(parts, window=0, first_key=0):
    """The first key that some row sees."""
    kv_len = parts["k"].shape[1]
    q_len = min(parts["q"].shape[1], kv_len - first_key)
    return max(first_key, kv_len - q_len - window + 1) if window else first_key


def reference(parts, window=0, first_key=0):
    """Probabilities of the real rows over the real keys, [heads, rows, keys], and their positions, in float64."""
    q, k, _ = (parts[name].astype(float) for name in "qkv")
    first_key = first_seen(parts, window, first_key)
    k = k[:, first_key:]
    q = q[:, max(0, q.shape[1] - k.shape[1]):]
    position = np.arange(k.shape[1] - q.shape[1], k.shape[1])
    distance = position[:, None] - np.arange(k.shape[1])
    seen = (distance >= 0) & ((distance < window) if window else True)
    s = np.where(seen, q @ np.repeat(k, len(q) // len(k), axis=0).transpose(0, 2, 1) * SCALE, -np.inf)
    p = np.exp(s - s.max(axis=2, keepdims=True))
    return p / p.sum(axis=2, keepdims=True), seen, distance


@pytest.mark.parametrize("attributes", [{"window": 50}, {"window": 1}, {"first_key": 37}, {"window": 50, "first_key": 37},
                                        {"window": 999}], ids=str)
@pytest.mark.parametrize("q_len", [320, 200])
def test_figures_are_those_of_the_layers_own_attention(box, attributes, q_len):
    parts = problem(q_len=q_len, scale=SCALE, **attributes)
    box.capture(p=parts)
    rows = {row["method"]: row for row in box.sweep(box.config(METHODS))}
    p, seen, distance = reference(parts, **attributes)
    kept = seen & ((np.arange(seen.shape[1]) < 3) | (distance < 40))
    assert rows["dense"]["recall_min"] == 1 == rows["dense"]["density"] and rows["dense"]["rel_l2"] < 1e-6
    assert rows["streaming"]["recall_mean"] == pytest.approx((p * kept).sum(axis=2).mean(), abs=1e-12)
    assert rows["streaming"]["density"] == pytest.approx(kept.sum() / seen.sum(), abs=1e-12)
    assert rows["block_topk"]["status"] == "ok" and 0 < rows["block_topk"]["density"] <= 1
    for row in rows.values():
        assert (row["window"], row["first_key"]) == (attributes.get("window", 0), first_seen(parts, **attributes))
        assert (row["kv_len"], row["q_len"]) == (seen.shape[1], seen.shape[0])
    narrow = 0 < attributes.get("window", 0) < seen.shape[1]
    assert rows["xattention"]["status"] == ("unsupported" if narrow else "ok")
    assert not narrow or f"sliding window of {attributes['window']} tokens" in rows["xattention"]["reason"]
    assert box.rows(table="problems")[0]["window"] == attributes.get("window", 0)


def test_keys_that_the_window_hides_from_all_rows_enter_nothing(box):
    """Methods that take means and maxima of blocks of keys would see them."""
    parts = problem(q_len=200, window=50)
    box.capture(p=parts)
    methods = {name: {} for name in ("sale", "quest", "moba", "block_topk", "block_topp", "sparge", "flashprefill")}
    methods |= {"oracle_global": {"by": "value"}, "sale_pooled": {}, "dense": {"attend": "sage"}}
    plain = box.sweep(box.config(methods))
    parts["k"], parts["v"] = parts["k"].copy(), parts["v"].copy()
    parts["k"][:, :71] = 100
    parts["v"][:, :71] = -100
    box.capture(p=parts)
    for before, after in zip(plain, box.sweep(box.config(methods), out="again"), strict=True):
        assert before["status"] == "ok" and before["fingerprint"] == after["fingerprint"]
        assert all(before[name] == after[name] for name in ("density", "recall_mean", "recall_min", "rel_l2"))


def test_the_layers_own_window_has_recall_one(box):
    box.capture(p=problem(window=64))
    row = box.sweep(box.config({"streaming": {"sink": 0, "local": 64}}))[0]
    assert row["recall_min"] == 1 and row["density"] == 1 and row["rel_l2"] < 1e-6


def test_lengths_count_from_the_first_real_token(box):
    box.capture(p=problem(first_key=20))
    rows = box.sweep(box.config({"dense": {}}, [{"path": "capture.h5", "lengths": [100, 300]}]))
    assert [row["kv_len"] for row in rows] == [100, 300]
    box.fails(5, "run", box.config({"dense": {}}, [{"path": "capture.h5", "lengths": 310}]), "-o", "more",
              says=["has 300 tokens after 20 that no row sees"])


@pytest.mark.parametrize("change, says", [
    (lambda group: group.attrs.update(softcap=30.0), "softcap 30"),
    (lambda group: group.create_dataset("sinks", data=np.zeros(2, np.float32)), "attention sinks"),
], ids=["softcap", "sinks"])
def test_what_no_kernel_honours_is_refused_by_name(box, change, says):
    with h5py.File(box.capture(p=problem(), plain=problem()), "a") as file:
        change(file["problems/p"])
    rows = {(row["problem"], row["method"]): row for row in box.sweep(box.config({"dense": {}, "sale": {}}))}
    assert len(rows) == 4  # equal values, other attention: other problems
    for (name, _), row in rows.items():
        assert row["status"] == ("unsupported" if name == "p" else "ok"), row
        assert name == "plain" or says in row["reason"]
    assert rows["p", "dense"]["fingerprint"] != rows["plain", "dense"]["fingerprint"]
    box.run("check", "capture.h5", code=5)


def test_other_attributes_are_warned_of_and_kept(box):
    box.capture(p=problem(colour="blue", weight=2.5))
    process = box.run("run", box.config({"dense": {}}), "-o", "out")
    assert "colour" in process.stderr and "not known here" in process.stderr
    assert box.rows(table="problems")[0]["attributes"] == '{"colour":"blue","weight":2.5}'
