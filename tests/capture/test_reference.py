"""The program's own double-precision reference against the attention of the models, on captures in float32."""

import json
import os
import subprocess

import h5py
import numpy as np
import pytest
from test_capture import MODELS, TOKENS, attention_of_the_model, captured, tiny


@pytest.mark.skipif(not os.environ.get("SALEBENCH_PROGRAM"), reason="SALEBENCH_PROGRAM names no program")
@pytest.mark.parametrize("kind", MODELS)
def test_the_programs_reference_gives_the_models_attention(kind, tmp_path):
    """By `salebench check`, on a capture that holds the model's own output."""
    model = tiny(kind)
    problems, wanted = captured(model), attention_of_the_model(model, TOKENS)
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file.attrs.update(format="salebench.capture", format_version=1)
        for name, (problem, q, k, v) in problems.items():
            heads = slice(problem.kv_head * len(q), (problem.kv_head + 1) * len(q))
            group = file.create_group(f"problems/{name}")
            group.attrs.update(scale=problem.scale, causal=problem.causal, window=problem.window or 0)
            output = wanted[problem.layer][:, heads].transpose(1, 0, 2)
            for tensor, values in {"q": q, "k": k, "v": v, "output": output}.items():
                group[tensor] = np.ascontiguousarray(values, np.float32)
    command = [os.environ["SALEBENCH_PROGRAM"], "check", tmp_path / "c.h5", "--json"]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    worst = max(row["output_rel_l2"] for row in rows)
    print(f"{kind}: relative L2 <= {worst:.1e}")
    assert len(rows) == sum(len(q) for _, q, _, _ in problems.values()) and worst <= 1e-5
