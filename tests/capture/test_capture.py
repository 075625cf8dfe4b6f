"""datasets/capture.py: what it takes from a model is what the model's own attention computes with."""

import h5py
import mask_rule
import numpy as np
import pytest
import torch
import transformers
from capture import CaptureError, CaptureFile, UsageError, capture
from tiny import (LAYERS, MODELS, SIZES, TOKENS, WINDOW, attention, attention_of_the_model, captured, distance,
                  tiny)
from torch.multiprocessing.reductions import StorageWeakRef
from transformers import masking_utils


@pytest.mark.parametrize("kind", MODELS)
def test_captured_tensors_give_the_models_attention(kind, monkeypatch):
    monkeypatch.setattr(mask_rule, "MASK_BUDGET", 64 * len(TOKENS))  # so that attention runs in several chunks of rows
    model = tiny(kind)
    problems = captured(model)
    assert len(problems) == LAYERS * model.config.num_key_value_heads
    wanted = attention_of_the_model(model, TOKENS)
    worst = 0
    for problem, q, k, v in problems.values():
        assert q.dtype == np.float32 and q.shape[1:] == k.shape[1:] == v.shape[1:] and k.shape[0] == v.shape[0] == 1
        group = q.shape[0]
        heads = slice(problem.kv_head * group, (problem.kv_head + 1) * group)
        want = wanted[problem.layer][:, heads].transpose(1, 0, 2)
        worst = max(worst, distance(attention(problem, q, k, v), want))
    print(f"{kind}: relative L2 <= {worst:.1e}")
    assert worst <= 1e-5


def test_the_window_matters_to_the_comparison():
    """A control: attention with the window forgotten is far from the model's."""
    model = tiny("mistral-windowed")
    problem, q, k, v = captured(model)["layer00_kv0"]
    object.__setattr__(problem, "window", None)
    want = attention_of_the_model(model, TOKENS)[0][:, :2].transpose(1, 0, 2)
    assert distance(attention(problem, q, k, v), want) > 0.1


def test_sliding_window_layers_are_marked(tmp_path):
    model = tiny("gemma3")
    with CaptureFile(tmp_path / "c.h5") as file:
        capture(model, TOKENS, file.add)
    with h5py.File(tmp_path / "c.h5") as file:
        windows = [file[f"problems/layer0{layer}_kv0"].attrs.get("window") for layer in range(LAYERS)]
    assert windows == [WINDOW, None, WINDOW]


@pytest.mark.parametrize("tokens, window", [(WINDOW - 1, None), (WINDOW, None), (WINDOW + 1, WINDOW), (1, None)])
def test_a_window_that_no_row_reaches_is_plain_causal(tokens, window):
    problems = captured(tiny("mistral-windowed"), TOKENS[:tokens])
    assert len(problems) == 2 * LAYERS
    assert all(problem.causal and problem.window == window for problem, *_ in problems.values())


def test_selection_of_layers_and_kv_heads():
    model = tiny("llama")
    everything, some = captured(model), captured(model, layers=[0, 2], kv_heads=[1])
    assert list(everything) == [f"layer0{layer}_kv{head}" for layer in range(LAYERS) for head in (0, 1)]
    assert list(some) == ["layer00_kv1", "layer02_kv1"]
    for name, (_, q, k, v) in some.items():
        assert all(np.array_equal(mine, all_) for mine, all_ in zip((q, k, v), everything[name][1:]))
    for options in ({"layers": [LAYERS]}, {"layers": [-1]}, {"kv_heads": [2]}):
        with pytest.raises(UsageError, match="there is no"):
            captured(model, **options)


def test_stops_after_the_last_wanted_layer():
    model = tiny()
    begun = []
    for number, layer in enumerate(model.model.layers):
        for part, what in ((layer, number), (layer.mlp, f"mlp {number}")):
            part.register_forward_pre_hook(
                lambda _, inputs, what=what: begun.append((what, inputs[0].shape[1])))
    steps = []
    captured(model, layers=[1], progress=lambda layer, last: steps.append((layer, last)))
    whole = [what for what, tokens in begun if tokens == len(TOKENS)]
    assert whole == [0, "mlp 0", 1] and steps == [(0, 1), (1, 1)]
    assert len(begun) == len(whole) + 2 * LAYERS  # a pass of a few tokens goes ahead


@pytest.mark.parametrize("kept", [0, 1])
def test_tensors_of_a_layer_are_released_before_the_next(kept):
    """Memory does not grow with the layers; a sink that does keep a tensor is the control."""
    storages, alive, kept_tensors = [], [], []

    def sink(problem):
        if len(kept_tensors) < kept:
            kept_tensors.append(problem.q)
        alive.append(sum(not storage.expired() for storage in storages))
        storages.extend(StorageWeakRef(getattr(problem, name).untyped_storage()) for name in "qkv")

    capture(tiny("llama", num_hidden_layers=12), TOKENS, sink, kv_heads=[0])
    assert alive == [0] + [kept] * 11
    assert sum(not storage.expired() for storage in storages) == kept


def test_implementation_is_put_back_after_success_and_failure():
    model = tiny("gemma3")
    before = model.config._attn_implementation
    captured(model, layers=[1])
    assert model.config._attn_implementation == before

    def fail(problem):
        raise CaptureError("full")

    with pytest.raises(CaptureError, match="full"):
        capture(model, TOKENS, fail)
    assert model.config._attn_implementation == before


def test_implementations_of_the_parts_are_put_back():
    """A vision tower may have another than the text model, and may not even accept that one."""
    text = MODELS["gemma3"][2] | SIZES
    vision = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28,
                  patch_size=14)
    model = transformers.Gemma3ForConditionalGeneration(transformers.Gemma3Config(
        text_config=text, vision_config=vision, mm_tokens_per_image=4)).eval()
    wanted = {"text_config": "sdpa", "vision_config": "eager"}
    model.set_attn_implementation(wanted)
    assert captured(model)["layer00_kv0"][0].window == WINDOW
    assert {name: getattr(model.config, name)._attn_implementation for name in wanted} == wanted


SMALL = SIZES | {"num_hidden_layers": 2, "head_dim": 16}


def test_softcap_is_refused():
    config = transformers.Gemma2Config(**SMALL, sliding_window=512, attn_logit_softcapping=50.0)
    with pytest.raises(CaptureError, match="layer 0: .*'softcap'"):
        captured(transformers.Gemma2ForCausalLM(config))


def test_sinks_are_refused():
    config = transformers.GptOssConfig(**SMALL, num_local_experts=2, num_experts_per_tok=1)
    with pytest.raises(CaptureError, match="layer 0: .*'s_aux'"):
        captured(transformers.GptOssForCausalLM(config))


def test_other_masks_are_refused():
    chunked = masking_utils.chunked_causal_mask_function(8, torch.zeros(1, dtype=int))
    with pytest.raises(CaptureError, match="neither causal"):
        mask_rule.MaskRule(32, 32, mask_function=chunked).kind()
    full = mask_rule.MaskRule(32, 32, mask_function=masking_utils.bidirectional_mask_function)
    assert full.kind() == (False, None)
    window = mask_rule.MaskRule(32, 32, mask_function=masking_utils.sliding_window_causal_mask_function(5))
    assert window.kind() == (True, 5)
    assert mask_rule.MaskRule(1, 1, mask_function=masking_utils.causal_mask_function).kind() == (True, None)


USES = {
    "slice": lambda mask: mask[:, 0], "shape": lambda mask: mask.shape, "dtype": lambda mask: mask.dtype == torch.bool,
    "sum": lambda mask: mask + 1, "sum from the left": lambda mask: torch.zeros(2) + mask, "not": lambda mask: ~mask,
    "and": lambda mask: torch.ones(2, dtype=torch.bool) & mask, "equality": lambda mask: mask == 0,
    "where": lambda mask: torch.where(mask, 1, 0), "masked_fill": lambda mask: torch.zeros(2).masked_fill(mask, 1),
    "truth": lambda mask: 1 if mask else 0, "length": lambda mask: len(mask), "loop": lambda mask: list(mask),
    "method": lambda mask: mask.to(torch.float32), "write": lambda mask: mask.__setitem__(0, 1),
    "numpy": lambda mask: np.asarray(mask),
}


@pytest.mark.parametrize("use", USES)
def test_a_mask_is_no_tensor_to_the_model(use):
    mask = mask_rule.MaskRule(32, 32, mask_function=masking_utils.causal_mask_function)
    with pytest.raises(CaptureError, match="makes or changes its attention mask itself"):
        USES[use](mask)
    assert not hasattr(mask, "shape") and mask.kind() == (True, None)


@pytest.mark.parametrize("tokens", [[], [1, 97], [-1, 3]])
def test_bad_token_ids(tokens):
    with pytest.raises(CaptureError, match="token ids"):
        captured(tiny(), tokens=tokens)
