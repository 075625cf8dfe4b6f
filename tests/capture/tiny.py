"""What the tests of datasets/capture.py share: tiny models, what is captured of them, and their own attention."""

import pathlib

import numpy as np
import torch
import transformers
from capture import capture

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "datasets/samples/smollm2-135m_kjv_8k.h5"
TOKENS = np.random.default_rng(1).integers(0, 97, 300).tolist()
WINDOW = 24
LAYERS = 3
SIZES = dict(vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=LAYERS, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.2, pad_token_id=0)
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
MODELS = {
    "llama": ("Llama", "Llama", {"num_attention_heads": 8, "head_dim": 16}),
    "llama-mha": ("Llama", "Llama", {"num_key_value_heads": 4}),
    "mistral": ("Mistral", "Mistral", {"sliding_window": None}),
    "mistral-windowed": ("Mistral", "Mistral", {"sliding_window": WINDOW}),
    "qwen2": ("Qwen2", "Qwen2", {}),
    "qwen3": ("Qwen3", "Qwen3", {"head_dim": 32}),
    "gemma3": ("Gemma3Text", "Gemma3", {"head_dim": 32, "query_pre_attn_scalar": 20, "sliding_window": WINDOW,
                                        "layer_types": MIXED}),
}


def tiny(kind="llama", **changes):
    config, model, sizes = MODELS[kind]
    torch.manual_seed(7)
    config = getattr(transformers, f"{config}Config")(**SIZES | sizes | changes)
    return getattr(transformers, f"{model}ForCausalLM")(config).eval()


def captured(model, tokens=None, **options):
    """The problems by id, with tensors of their own."""
    problems = {}

    def keep(problem):
        tensors = [getattr(problem, name).clone().numpy() for name in "qkv"]
        problems[problem.id] = (problem, *tensors)

    capture(model, TOKENS if tokens is None else tokens, keep, **options)
    return problems


def attention(problem, q, k, v):
    """Plain attention in double precision: [group, len, head_dim]."""
    logits = problem.scale * np.einsum("hid,jd->hij", q.astype(float), k[0].astype(float))
    i, j = np.ogrid[:q.shape[1], :k.shape[1]]
    assert problem.causal
    blocked = j > i if problem.window is None else (j > i) | (j <= i - problem.window)
    logits[:, blocked] = -np.inf
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v[0].astype(float)


def attention_of_the_model(model, tokens):
    """What each layer gives to o_proj, [len, heads, head_dim], in transformers' eager implementation."""
    outputs, hooks = {}, []
    for number, layer in enumerate(model.model.layers):
        def keep(_, inputs, number=number, head_dim=layer.self_attn.head_dim):
            outputs[number] = inputs[0][0].unflatten(-1, (-1, head_dim))
        hooks.append(layer.self_attn.o_proj.register_forward_pre_hook(keep))
    model.set_attn_implementation("eager")
    with torch.inference_mode():
        model(input_ids=torch.tensor([tokens]), use_cache=False)
    for hook in hooks:
        hook.remove()
    return {layer: output.numpy() for layer, output in outputs.items()}


def distance(got, want):
    return np.linalg.norm(got.astype(float) - want) / np.linalg.norm(want.astype(float))
