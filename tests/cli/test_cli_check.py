"""`salebench check` and the truth cache in `salebench info`."""

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from cli_helpers import HANG, problem

SAMPLE = Path(__file__).resolve().parents[2] / "datasets/samples/smollm2-135m_kjv_8k.h5"
LENGTH = 2048


def oracle_densities(q, k, scale, block_q, block_k, recalls):
    """By NumPy, for one head, causal: the smallest number of tiles whose true mass reaches the recall / causal tiles."""
    scores = scale * (q.astype(np.float64) @ k.astype(np.float64).T)
    scores[np.triu_indices(len(q), 1)] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    shares = []
    for begin in range(0, len(q), block_q):
        rows = weights[begin : begin + block_q]
        tiles = -(-(begin + len(rows)) // block_k)
        mass = np.add.reduceat(rows.mean(axis=0), np.arange(0, tiles * block_k, block_k)[:tiles])
        reached = np.cumsum(np.sort(mass)[::-1])
        shares.append([(np.searchsorted(reached, recall) + 1) / tiles for recall in recalls])
    return np.mean(shares, axis=0)


@pytest.mark.parametrize("block", ["64x32", "128x128"])
def test_densities_agree_with_numpy(box, block):
    rows = json.loads(box.run("check", SAMPLE, "--length", LENGTH, "--block", block, "--json").stdout)
    assert len(rows) == 6
    with h5py.File(SAMPLE) as file:
        for row in rows:
            group = file[f"problems/{row['problem']}"]
            q, k = group["q"][row["head"], :LENGTH], group["k"][0, :LENGTH]
            expected = oracle_densities(q, k, group.attrs["scale"], *map(int, block.split("x")), (0.9, 0.95, 0.99))
            found = [row[f"density_at_{percent}"] for percent in (90, 95, 99)]
            # A tile more or less, in a few query blocks, where the sum ends on the recall to the last digit.
            assert found == pytest.approx(expected, abs=1e-4)
            k = k.astype(np.float64)
            assert row["k_norm"] == pytest.approx(np.linalg.norm(k, axis=1).mean(), rel=1e-5)
            share = (k.mean(axis=0) ** 2).sum() / (k**2).sum(axis=1).mean()
            assert row["k_mean_share"] == pytest.approx(share, rel=1e-5)


def test_table_names_every_problem_and_head(box):
    text = box.run("check", SAMPLE, "--length", 256).stdout
    assert text.count("layer") == 2 and "3/1 heads" in text and "float16" in text and "oracle density" in text


def test_sound_problems_are_shown_and_unsound_ones_named(box):
    bad = problem(seed=2)
    bad["v"][0, 7, 3] = np.inf
    box.capture(good=problem(), bad=bad)
    process = box.run("check", "capture.h5", code=5)
    assert "good: 2/1 heads" in process.stdout
    assert "bad" in process.stderr and "token 7, channel 3" in process.stderr and len(process.stderr.splitlines()) == 1


def attention(q, k, v, scale):
    """Causal attention of one head, in double precision."""
    logits = scale * q.astype(float) @ k.astype(float).T
    logits[np.triu_indices(len(q), 1)] = -np.inf
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True) @ v.astype(float)


def test_float32_captures_are_compared_with_the_models_own_output(box):
    rng = np.random.default_rng(5)
    q, k, v = rng.standard_normal((2, 300, 32)), rng.standard_normal((1, 300, 32)), rng.standard_normal((1, 300, 32))
    parts = {name: x.astype(np.float32) for name, x in {"q": q, "k": k, "v": v}.items()}
    output = np.stack([attention(parts["q"][head], parts["k"][0], parts["v"][0], 0.2) for head in range(2)])
    output[1] *= 1.01
    box.capture(p={**parts, "attributes": {"scale": 0.2}})
    with h5py.File(box.path("capture.h5"), "a") as file:
        file["problems/p/output"] = output.astype(np.float32)
    rows = json.loads(box.run("check", "capture.h5", "--json", code=5).stdout)
    assert rows[0]["dtype"] == "float32" and rows[0]["output_rel_l2"] < 1e-6
    assert rows[1]["output_rel_l2"] == pytest.approx(0.01, rel=1e-3)
    assert "1.00e-02 (relative L2) of the model's own" in box.run("check", "capture.h5", code=5).stdout


def test_two_runs_may_compute_a_truth_at_once(box):
    config = box.config({"dense": {}})
    runs = [box.start("run", config, "-o", f"out{i}", "--quiet") for i in range(3)]
    assert [run.wait(timeout=HANG) for run in runs] == [0, 0, 0]
    assert len(list(box.cache.rglob("*"))) == 2  # the folder and one file
    recalls = {box.rows(f"out{i}")[0]["rel_l2"] for i in range(3)}
    assert len(recalls) == 1


def test_info_shows_and_clears_the_truth_cache(box):
    box.sweep(box.config({"dense": {}}))
    assert "1 files" in box.run("info").stdout
    assert "0 files" in box.run("info", "--clear-cache").stdout
    assert not list(box.cache.rglob("*.h5"))
