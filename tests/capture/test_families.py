"""Models that run otherwise than they seem are refused by name; families.py compares those that are not."""

import numpy as np
import pytest
import transformers
from families import build, examine
from family_sizes import VARIANTS
from prefill import CaptureError, capture

TWICE, MASK, DENSE = "layer 0 calls attention more than once", "makes or changes its attention mask", "it runs dense"
REFUSED = {
    "diffllama": TWICE, "hrm_text": TWICE, "dory": TWICE,
    "doge": MASK, "qwen4_exp_text": MASK, "git": MASK,
    "deepseek_v32": DENSE, "glm_moe_dsa": DENSE, "hy_v4": DENSE, "minimax_m3_vl_text": DENSE, "axk2": DENSE,
    "dots3_note_text": DENSE,
    "deepseek_v3": "head_dim of Q and K is 24, of V 16", "bloom": "does not run any of its layers",
    "zamba2": "does not say which layer", "blt": "BltConfig has no num_hidden_layers",
    "gpt_oss": "'s_aux'", "inkling_text": "'position_bias'", "llama4_text": "neither causal",
}
EQUAL = ["gemma3_text", "gpt_neox", "jamba", "modernbert-decoder", "qwen2", "qwen3_5", *VARIANTS]


def built(family):
    if VARIANTS.get(family, (family,))[0] not in transformers.CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {family}")
    return build(family)


@pytest.mark.parametrize("family", REFUSED)
def test_refused(family):
    model, problems = built(family), []
    with pytest.raises(CaptureError, match=REFUSED[family]):
        capture(model, np.arange(3, 51), problems.append)
    assert not problems


@pytest.mark.parametrize("family", ["diffllama", "hrm_text"])
def test_a_second_call_is_seen_when_only_one_layer_is_wanted(family):
    """Though a capture ends with its last layer, of which the second call then never comes."""
    model, problems = built(family), []
    with pytest.raises(CaptureError, match=TWICE):
        capture(model, np.arange(3, 51), problems.append, layers=[0])
    assert not problems


@pytest.mark.parametrize("family", EQUAL)
def test_equal(family):
    built(family)
    outcome, text = examine(family)
    assert outcome == ("refused" if family == "gemma3 in both directions" else "equal"), text
