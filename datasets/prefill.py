"""Runs a prefill of a Hugging Face model and hands on the Q, K and V that each layer's attention function receives.

The tensors come through transformers' attention registry, so no model code is patched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import transformers
from transformers.masking_utils import AttentionMaskInterface

INTERFACE = "salebench_capture"
MASK_BUDGET = 1 << 24  # elements of a mask that exist at a time
HARMLESS = {"dropout", "is_causal", "sliding_window", "position_ids", "position_embeddings", "cache_position",
            "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict",
            "deterministic"}  # arguments of the attention function that leave the logits alone


class UsageError(Exception):
    """A mistake in what is asked for: exit code 2."""


class CaptureError(Exception):
    """Data or a model that cannot be captured: exit code 5."""


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
    window: int | None  # keys that a query of a sliding-window layer sees, itself among them

    @property
    def id(self) -> str:
        return f"layer{self.layer:02d}_kv{self.kv_head}"


class MaskRule:
    """Who attends to whom, a few rows at a time. Registered with transformers in the place of mask tensors, which for a
    long prompt would fill the memory."""

    def __init__(self, q_length: int, kv_length: int, q_offset: int = 0, kv_offset: int = 0, mask_function=None,
                 attention_mask: torch.Tensor | None = None, use_vmap: bool = False, device="cpu", **_):
        if use_vmap:
            raise CaptureError("the model adds a mask of its own to the causal one")
        if attention_mask is not None and not bool(attention_mask.all()):
            raise CaptureError("the prompt is padded: capture prompts without padding")
        self.q_len, self.kv_len, self.device = q_length, kv_length, device
        self._function, self._q_offset, self._kv_offset = mask_function, int(q_offset), int(kv_offset)
        self._kind: tuple[bool, int | None] | None = None

    def rows(self, begin: int, end: int) -> torch.Tensor:
        """Which keys the queries begin..end see: bool [end - begin, kv_len]."""
        q = torch.arange(begin, end, device=self.device)[None, None, :, None] + self._q_offset
        k = torch.arange(self.kv_len, device=self.device)[None, None, None] + self._kv_offset
        zero = torch.zeros(1, 1, 1, 1, dtype=torch.long, device=self.device)
        return self._function(zero, zero, q, k).expand(1, 1, end - begin, self.kv_len)[0, 0]

    def kind(self) -> tuple[bool, int | None]:
        """(causal, window), after a look at every row; anything else is refused."""
        if self._kind is None:
            n = self.kv_len
            if self.q_len != n:
                raise CaptureError(f"{self.q_len} queries attend to {n} keys; only a whole prefill is captured")
            causal = n == 1 or not bool(self.rows(0, 1)[0, 1])
            seen = int(self.rows(n - 1, n).sum())
            window = seen if causal and seen < n else None
            for begin, end in _row_chunks(n):
                if not torch.equal(self.rows(begin, end), _mask(begin, end, 0, n, causal, window, self.device)):
                    raise CaptureError("its mask is neither causal, nor full, nor a sliding window")
            self._kind = causal, window
        return self._kind


def _row_chunks(n: int) -> Iterator[tuple[int, int]]:
    rows = min(max(MASK_BUDGET // n, 16), 1024)
    return ((begin, min(begin + rows, n)) for begin in range(0, n, rows))


def _mask(begin: int, end: int, first: int, last: int, causal: bool, window: int | None, device) -> torch.Tensor:
    """Which of the keys first..last the queries begin..end see."""
    q = torch.arange(begin, end, device=device)[:, None]
    k = torch.arange(first, last, device=device)[None]
    if not causal:
        return torch.ones(end - begin, last - first, dtype=torch.bool, device=device)
    return (k <= q) if window is None else (k <= q) & (k > q - window)


def _attend(q, k, v, scale: float, causal: bool, window: int | None) -> torch.Tensor:
    """Attention of [1, heads, len, dim] in row chunks, as transformers wants it: [1, len, heads, dim]."""
    n, group = q.shape[2], q.shape[1] // k.shape[1]
    out = q.new_empty(1, n, q.shape[1], v.shape[3])
    for begin, end in _row_chunks(n):
        last = end if causal else n
        first = max(0, begin - window + 1) if window else 0
        mask = _mask(begin, end, first, last, causal, window, q.device) if causal else None
        for head in range(k.shape[1]):
            heads = slice(head * group, (head + 1) * group)
            keys, values = (x[:, head:head + 1, first:last].expand(-1, group, -1, -1) for x in (k, v))
            out[:, begin:end, heads] = torch.nn.functional.scaled_dot_product_attention(
                q[:, heads, begin:end], keys, values, attn_mask=mask, scale=scale).transpose(1, 2)
    return out


class _Recorder:
    """The attention function that is registered with transformers: hands Q, K and V on, then attends."""

    def __init__(self, sink, layers, kv_heads, allow_windowed, progress, last):
        self.sink, self.layers, self.kv_heads = sink, layers, kv_heads
        self.allow_windowed, self.progress, self.last = allow_windowed, progress, last
        self.seen: set[int] = set()

    def __call__(self, module, query, key, value, attention_mask, scaling=None, **options):
        layer = getattr(module, "layer_idx", None)
        if layer is None:
            raise CaptureError(f"{type(module).__name__} does not say which layer it is")
        try:
            causal, window = self._check(module, query, key, value, attention_mask, options)
        except CaptureError as error:
            raise CaptureError(f"layer {layer}: {error}") from None
        scale = float(scaling) if scaling is not None else query.shape[-1] ** -0.5
        if layer in self.layers:
            self._record(layer, query, key, value, scale, causal, window)
        self.progress(layer, self.last)
        if layer >= self.last:
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
        causal = options.get("is_causal")
        if causal is None:
            causal = getattr(module, "is_causal", True)
        causal, seen = mask.kind() if mask is not None else (causal, stated)
        if stated is not None and stated < key.shape[2] and stated != seen:
            raise CaptureError(f"its mask does not have the window of {stated} tokens that it states")
        return bool(causal), stated if stated is not None else seen

    def _record(self, layer, query, key, value, scale, causal, window):
        if window is not None and not self.allow_windowed:
            raise CaptureError(f"layer {layer} attends to a sliding window of {window} tokens; choose other layers "
                               "with --layers, or take it all the same with --allow-windowed")
        group = query.shape[1] // key.shape[1]
        kv_heads = range(key.shape[1]) if self.kv_heads is None else self.kv_heads
        if max(kv_heads) >= key.shape[1]:
            raise UsageError(f"there is no KV head {max(kv_heads)}: layer {layer} has {key.shape[1]}")
        for head in kv_heads:
            self.sink(Problem(layer, head, query[0, head * group:(head + 1) * group], key[0, head:head + 1],
                              value[0, head:head + 1], scale, causal, window))
        self.seen.add(layer)


def capture(model: transformers.PreTrainedModel, token_ids: Sequence[int], sink: Callable[[Problem], None], *,
            layers: Sequence[int] | None = None, kv_heads: Sequence[int] | None = None, allow_windowed: bool = False,
            progress: Callable[[int, int], None] = lambda layer, last: None) -> None:
    """Runs a prefill of the tokens and hands each wanted (layer, KV head) to `sink`, in the order of the layers.

    Default: all layers with attention, all KV heads. The model's attention implementation is put back at the end.
    """
    config = model.config.get_text_config()
    count = config.num_hidden_layers
    for layer in layers or ():
        if not 0 <= layer < count:
            raise UsageError(f"there is no layer {layer}: the model has {count}")
    wanted = set(range(count) if layers is None else layers)
    ids = torch.as_tensor(np.asarray(token_ids, dtype=np.int64), device=model.device)[None]
    if ids.shape[1] == 0 or int(ids.min()) < 0 or int(ids.max()) >= config.vocab_size:
        raise CaptureError(f"the token ids are not between 0 and {config.vocab_size - 1}, or there are none")
    recorder = _Recorder(sink, wanted, kv_heads, allow_windowed, progress, max(wanted))
    transformers.AttentionInterface.register(INTERFACE, recorder)
    AttentionMaskInterface.register(INTERFACE, MaskRule)
    before = model.config._attn_implementation
    model.eval()
    try:
        model.set_attn_implementation(INTERFACE)
        with torch.inference_mode(), contextlib.suppress(_Finished):
            model.base_model(input_ids=ids, use_cache=False)
    finally:
        model.set_attn_implementation(before)
    missing = sorted(wanted - recorder.seen)
    if missing and (layers is not None or not recorder.seen):
        raise CaptureError(f"{type(model).__name__} does not run its layers {missing} through transformers' attention "
                           "interface")
