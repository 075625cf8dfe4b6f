"""Runs a prefill of a Hugging Face model and hands on the Q, K and V that each layer's attention function receives.

The tensors come through transformers' attention registry, so no model code is patched.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from mask_rule import CaptureError, MaskRule, mask_rows, row_chunks
from transformers.masking_utils import AttentionMaskInterface

INTERFACE = "salebench_capture"
REHEARSED = 16  # tokens of the short pass that finds which layers call attention, and how often
HARMLESS = {"dropout", "is_causal", "sliding_window", "position_ids", "position_embeddings", "cache_position",
            "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict",
            "deterministic"}  # arguments of the attention function that leave the logits alone


class UsageError(Exception):
    """A mistake in what is asked for: exit code 2."""


class _Finished(Exception):
    """Ends the forward pass after the last wanted layer."""


@dataclass(frozen=True)
class Problem:
    """One KV head of one layer, in the precision that the model ran in. The tensors are views: use them, drop them."""

    layer: int
    kv_head: int
    q: torch.Tensor  # [group, len, head_dim]
    k: torch.Tensor  # [1, len, head_dim]
    v: torch.Tensor  # [1, len, head_dim]
    scale: float
    causal: bool
    window: int | None  # keys that a row of a sliding-window layer sees, its own token among them; None: all earlier

    @property
    def id(self) -> str:
        return f"layer{self.layer:02d}_kv{self.kv_head}"


def _attend(q, k, v, scale: float, causal: bool, window: int | None) -> torch.Tensor:
    """Attention of [1, heads, len, dim] in row chunks, as transformers wants it: [1, len, heads, dim]."""
    n, group = q.shape[2], q.shape[1] // k.shape[1]
    out = q.new_empty(1, n, q.shape[1], v.shape[3])
    for begin, end in row_chunks(n):
        last = end if causal else n
        first = max(0, begin - window + 1) if window else 0
        mask = mask_rows(begin, end, first, last, causal, window, q.device) if causal else None
        for head in range(k.shape[1]):
            heads = slice(head * group, (head + 1) * group)
            keys, values = (x[:, head:head + 1, first:last].expand(-1, group, -1, -1) for x in (k, v))
            out[:, begin:end, heads] = torch.nn.functional.scaled_dot_product_attention(
                q[:, heads, begin:end], keys, values, attn_mask=mask, scale=scale).transpose(1, 2)
    return out


@functools.cache
def _names_compared(module: str) -> frozenset[str]:
    """The names that the source of a Python module compares `_attn_implementation` with; none if it has no source."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (KeyError, OSError, TypeError, SyntaxError):
        return frozenset()
    return frozenset(leaf.value for node in ast.walk(tree) if isinstance(node, ast.Compare)
                     and any(isinstance(leaf, ast.Attribute) and leaf.attr == "_attn_implementation"
                             for leaf in ast.walk(node))
                     for leaf in ast.walk(node) if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str))


def _refuse_own_selection(model: torch.nn.Module) -> None:
    """Code that asks whether attention is called `eager` or `sdpa` does something under both that it leaves to a kernel
    under any other name, such as the selection of keys: with ours the model would run dense without a word."""
    for module in model.modules():
        for part in type(module).__mro__ if hasattr(module, "layer_idx") else ():
            if _names_compared(part.__module__) >= {"eager", "sdpa"}:
                raise CaptureError(f"{part.__module__.rpartition('.')[2]} selects keys itself, and only under the "
                                   "attention names 'eager' and 'sdpa': under any other, as in a capture, it runs dense")


def _layer_of(module: torch.nn.Module) -> int:
    layer = getattr(module, "layer_idx", None)
    if layer is None or layer < 0:
        raise CaptureError(f"{type(module).__name__} does not say which layer it is")
    return layer


def _called_again(layer: int) -> CaptureError:
    return CaptureError(f"layer {layer} calls attention more than once in one forward pass (in parts, or as a layer "
                        "that is run repeatedly); a capture holds one call of a layer")


class _Recorder:
    """The attention function that is registered with transformers: hands Q, K and V on, then attends."""

    def __init__(self, sink, layers, kv_heads, progress, last):
        self.sink, self.layers, self.kv_heads, self.progress, self.last = sink, layers, kv_heads, progress, last
        self.seen: set[int] = set()

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **options):
        layer = _layer_of(module)
        try:
            causal, window = self._check(module, query, key, value, attention_mask, options)
        except CaptureError as error:
            raise CaptureError(f"layer {layer}: {error}") from None
        scale = float(scaling) if scaling is not None else query.shape[-1] ** -0.5
        if layer in self.layers:
            self._record(layer, query, key, value, scale, causal, window)
        self.progress(layer, self.last)
        if layer == self.last:
            raise _Finished
        return _attend(query, key, value, scale, causal, window), None

    def _check(self, module, query, key, value, mask, options) -> tuple[bool, int | None]:
        for name, argument in options.items():
            if argument is not None and argument is not False and name not in HARMLESS:
                raise CaptureError(f"the model passes '{name}' to its attention; what it does to the logits (softcap, "
                                   "sinks, bias) has no place in a capture")
        if query.shape[0] != 1 or query.shape[2] != key.shape[2]:
            raise CaptureError("only one whole prefill is captured, without a cache")
        if not query.shape[3] == key.shape[3] == value.shape[3]:
            raise CaptureError(f"head_dim of Q and K is {key.shape[3]}, of V {value.shape[3]}: "
                               "a capture needs them alike")
        if mask is not None and not isinstance(mask, MaskRule):
            raise CaptureError("the model makes its own mask, which may hold a bias")
        stated = options.get("sliding_window")
        if stated is not None and stated >= key.shape[2]:
            stated = None  # no row reaches it
        if mask is not None:
            causal, window = mask.kind()
        else:
            causal, window = options.get("is_causal"), None
            causal = getattr(module, "is_causal", True) if causal is None else causal
        if stated is not None and stated != window:
            raise CaptureError(f"its mask does not have the window of {stated} tokens that it states")
        return bool(causal), window

    def _record(self, layer, query, key, value, scale, causal, window):
        if layer in self.seen:
            raise _called_again(layer)
        group = query.shape[1] // key.shape[1]
        kv_heads = range(key.shape[1]) if self.kv_heads is None else self.kv_heads
        if max(kv_heads) >= key.shape[1]:
            raise UsageError(f"there is no KV head {max(kv_heads)}: layer {layer} has {key.shape[1]}")
        for head in kv_heads:
            self.sink(Problem(layer, head, query[0, head * group:(head + 1) * group], key[0, head:head + 1],
                              value[0, head:head + 1], scale, causal, window))
        self.seen.add(layer)


def _configs(model: transformers.PreTrainedModel) -> list[transformers.PreTrainedConfig]:
    """The configurations of the model and of its parts, parents first, as what is set in one is set in its parts."""
    waiting = [module.config for module in reversed(list(model.modules()))
               if isinstance(module, transformers.PreTrainedModel)]
    found: dict[int, transformers.PreTrainedConfig] = {}
    while waiting:
        config = waiting.pop()
        if config is not None and found.setdefault(id(config), config) is config:
            waiting += [getattr(config, name, None) for name in config.sub_configs]
    return list(found.values())


def _run(model: transformers.PreTrainedModel, ids: torch.Tensor, attention: Callable) -> None:
    """A prefill in which `attention` is the attention function of every layer."""
    transformers.AttentionInterface.register(INTERFACE, attention)
    AttentionMaskInterface.register(INTERFACE, MaskRule)
    before = [(config, config._attn_implementation) for config in _configs(model)]
    try:
        model.set_attn_implementation(INTERFACE)
        with torch.inference_mode(), contextlib.suppress(_Finished):
            model.base_model(input_ids=ids, use_cache=False)
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


def _order_of_calls(model: transformers.PreTrainedModel, ids: torch.Tensor) -> list[int]:
    """The layers in the order in which they call attention, from a pass over a few tokens. Only a pass that goes to its
    end shows which call is the last of those wanted, and whether a layer calls again."""
    calls: list[int] = []

    def note(module, query, key, value, *_, **__):
        calls.append(_layer_of(module))
        return value.new_zeros(query.shape[0], query.shape[2], query.shape[1], value.shape[3]), None

    _run(model, ids[:, :REHEARSED], note)
    return calls


def text_config(model: transformers.PreTrainedModel) -> transformers.PreTrainedConfig:
    """The configuration of the stack of layers that reads the prompt."""
    try:
        config = model.config.get_text_config()
    except ValueError as error:  # there are several
        raise CaptureError(str(error)) from None
    for name in ("num_hidden_layers", "vocab_size"):
        if not hasattr(config, name):
            raise CaptureError(f"{type(config).__name__} has no {name}: models of several stacks of layers are not "
                               "captured")
    return config


def capture(model: transformers.PreTrainedModel, token_ids: Sequence[int], sink: Callable[[Problem], None], *,
            layers: Sequence[int] | None = None, kv_heads: Sequence[int] | None = None,
            progress: Callable[[int, int], None] = lambda layer, last: None) -> None:
    """Runs a prefill of the tokens and hands each wanted (layer, KV head) to `sink`, in the order of the layers.

    Default: all layers with attention, all KV heads. A pass over the first few tokens goes ahead. The model's attention
    implementation is put back at the end.
    """
    config = text_config(model)
    count = config.num_hidden_layers
    for layer in layers or ():
        if not 0 <= layer < count:
            raise UsageError(f"there is no layer {layer}: the model has {count}")
    wanted = set(range(count) if layers is None else layers)
    ids = torch.as_tensor(np.asarray(token_ids, dtype=np.int64), device=model.device)[None]
    if ids.shape[1] == 0 or int(ids.min()) < 0 or int(ids.max()) >= config.vocab_size:
        raise CaptureError(f"the token ids are not between 0 and {config.vocab_size - 1}, or there are none")
    model.eval()
    _refuse_own_selection(model.base_model)
    calls = [layer for layer in _order_of_calls(model, ids) if layer in wanted]
    missing = sorted(wanted.difference(calls))
    if missing and (layers is not None or not calls):
        which = f"its layers {missing}" if calls else "any of its layers"
        raise CaptureError(f"{type(model).__name__} does not run {which} through transformers' attention interface")
    if len(calls) > len(set(calls)):
        raise _called_again(Counter(calls).most_common(1)[0][0])
    recorder = _Recorder(sink, set(calls), kv_heads, progress, calls[-1])
    _run(model, ids, recorder)
    if recorder.seen != recorder.layers:
        raise CaptureError(f"layers {sorted(recorder.layers - recorder.seen)} call attention in a pass of {REHEARSED} "
                           "tokens, but not in this one")
