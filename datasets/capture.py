"""Captures post-RoPE Q, K and V of a Hugging Face model, exactly as its attention function receives them.

The tensors come through transformers' attention registry, so no model code is patched. One problem per (layer, KV head)
goes to an HDF5 file that SALEbench reads (datasets/README.md). See docs/capturing.md for examples and limits.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

try:
    import torch
    import transformers
    from transformers.masking_utils import AttentionMaskInterface
except ImportError as error:
    raise SystemExit(f"capture: {error}; install requirements-capture.txt (docs/capturing.md)") from None

INTERFACE = "salebench_capture"
MASK_BUDGET = 1 << 24  # elements of a mask that exist at a time
HARMLESS = {"dropout", "is_causal", "sliding_window", "position_ids", "position_embeddings", "cache_position",
            "use_cache", "output_attentions", "output_hidden_states", "output_router_logits", "return_dict"}  # fmt: skip
CHUNK_ROWS = 4096


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
    """Who attends to whom, a few rows at a time: stands for the mask tensor, which a long prompt has no memory for."""

    def __init__(self, q_length: int, kv_length: int, q_offset: int = 0, kv_offset: int = 0, mask_function=None,
                 attention_mask: torch.Tensor | None = None, device="cpu", **_):
        if attention_mask is not None and not bool(attention_mask.all()):
            raise CaptureError("the prompt is padded: capture prompts without padding")
        self.kv_len, self.device = kv_length, device
        self._function, self._q_offset, self._kv_offset, self._kind = mask_function, int(q_offset), int(kv_offset), None
        self._q_len = q_length

    @classmethod
    def from_interface(cls, batch_size: int, **arguments) -> MaskRule:
        """The mask function that is registered with transformers."""
        return cls(**arguments)

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
            if self._q_len != n:
                raise CaptureError(f"{self._q_len} queries attend to {n} keys; only a whole prefill is captured")
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
            raise CaptureError(f"head_dim of Q and K is {key.shape[3]}, of V {value.shape[3]}: a capture needs them alike")
        if mask is not None and not isinstance(mask, MaskRule):
            raise CaptureError("the model makes its own mask, which may hold a bias")
        stated = options.get("sliding_window")
        causal = options.get("is_causal")
        causal, seen = mask.kind() if mask else (module.is_causal if causal is None else causal, stated)
        if stated is not None and stated < key.shape[2] and stated != seen:
            raise CaptureError(f"its mask does not have the window of {stated} tokens that it states")
        return bool(causal), stated if stated is not None else seen

    def _record(self, layer, query, key, value, scale, causal, window):
        if window is not None and not self.allow_windowed:
            raise CaptureError(f"layer {layer} attends to a sliding window of {window} tokens; choose other layers with "
                               "--layers, or take it all the same with --allow-windowed")
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
    AttentionMaskInterface.register(INTERFACE, MaskRule.from_interface)
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


class CaptureFile:
    """A capture under a temporary name, which becomes `path` when the context ends without an error."""

    def __init__(self, path: Path, dtype: str = "float16", **attributes):
        self.path, self.dtype, self.attributes = Path(path), dtype, attributes
        self._partial = self.path.with_name(f"{self.path.name}.partial")

    def __enter__(self) -> CaptureFile:
        try:
            self._file = h5py.File(self._partial, "w")
        except OSError as error:
            raise CaptureError(f"cannot write {self._partial}: {error}") from None
        self._file.attrs.update(format="salebench.capture", format_version=1,
                                created_utc=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))
        self._file.attrs.update({f"{library.__name__}_version": library.__version__
                                 for library in (torch, transformers, h5py, np)})
        return self

    def __exit__(self, kind, *_):
        self._file.close()
        if kind is None:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink(missing_ok=True)

    def add(self, problem: Problem) -> None:
        """Writes one problem; the sink to give to `capture`."""
        group = self._file.create_group(f"problems/{problem.id}")
        for name in ("q", "k", "v"):
            stored = self._rounded(getattr(problem, name), f"{problem.id}/{name}")
            chunks = (1, min(CHUNK_ROWS, stored.shape[1]), stored.shape[2])
            dataset = group.create_dataset(name, data=stored, chunks=chunks, compression="gzip", shuffle=True)
            dataset.attrs["dtype"] = self.dtype
        group.attrs.update(layer=problem.layer, kv_head=problem.kv_head, scale=problem.scale, causal=problem.causal,
                           rope="applied", **self.attributes)
        if problem.window is not None:
            group.attrs["window"] = problem.window
        self._file.flush()

    def add_token_ids(self, token_ids: Sequence[int]) -> None:
        """Stores the prompt, and its SHA-256 over little-endian int32."""
        ids = np.asarray(token_ids, dtype="<i4")
        self._file.create_dataset("token_ids", data=ids, compression="gzip", shuffle=True)
        self._file.attrs["prompt_sha256"] = hashlib.sha256(ids.tobytes()).hexdigest()

    def add_model(self, model: transformers.PreTrainedModel) -> None:
        """Stores a hash of the configuration, without what depends on the library, and how the model is run."""
        config = {key: value for key, value in model.config.to_dict().items() if key != "transformers_version"}
        text = json.dumps(config, sort_keys=True, default=str)
        self._file.attrs.update(config_sha256=hashlib.sha256(text.encode()).hexdigest(), device=str(model.device),
                                compute_dtype=str(model.dtype).removeprefix("torch."))

    def _rounded(self, tensor: torch.Tensor, where: str) -> np.ndarray:
        tensor = tensor.detach().cpu()
        if not bool(torch.isfinite(tensor).all()):
            raise CaptureError(f"{where} holds NaN or infinity: the model overflows in {tensor.dtype}")
        stored = tensor.to(getattr(torch, self.dtype))
        if not bool(torch.isfinite(stored).all()):
            raise CaptureError(f"{where} reaches {float(tensor.abs().max()):.4g}, beyond {self.dtype}; store it with "
                               "--dtype bfloat16")
        return stored.view(torch.uint16).numpy() if self.dtype == "bfloat16" else stored.numpy()
