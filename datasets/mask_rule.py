"""What stands in for the attention masks of a model while it is captured."""

from __future__ import annotations

from collections.abc import Iterator

import torch

MASK_BUDGET = 1 << 24  # elements of a mask that exist at a time


class CaptureError(Exception):
    """Data or a model that cannot be captured: exit code 5."""


class _MaskUsed(CaptureError, AttributeError):
    """The model uses the MaskRule as a tensor. An AttributeError too, so that hasattr() may ask it what it is not."""

    def __init__(self, use: str):
        super().__init__(f"the model makes or changes its attention mask itself (it uses '{use}' of the mask); only "
                         "masks that transformers makes are captured")


class MaskRule:
    """Who attends to whom, a few rows at a time. Registered with transformers in the place of mask tensors, which for a
    long prompt would fill the memory. Any use of it as a tensor raises CaptureError."""

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

    def __getattr__(self, name: str):
        raise _MaskUsed(name)

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        raise _MaskUsed(getattr(function, "__name__", str(function)))

    def kind(self) -> tuple[bool, int | None]:
        """(causal, window), after a look at every row; anything else is refused."""
        if self._kind is None:
            n = self.kv_len
            if self.q_len != n:
                raise CaptureError(f"{self.q_len} queries attend to {n} keys; only a whole prefill is captured")
            causal = n == 1 or not bool(self.rows(0, 1)[0, 1])
            seen = int(self.rows(n - 1, n).sum())
            window = seen if causal and seen < n else None
            for begin, end in row_chunks(n):
                if not torch.equal(self.rows(begin, end), mask_rows(begin, end, 0, n, causal, window, self.device)):
                    raise CaptureError("its mask is neither causal, nor full, nor a sliding window")
            self._kind = causal, window
        return self._kind


def _refuse_operators() -> None:
    """Operators are looked up in the class, past __getattr__: all that tensors have."""
    def refusal(name: str):
        def refuse(*_, **__):
            raise _MaskUsed(name)
        return refuse

    comparisons = {"__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"}  # which each object has
    for name in dir(torch.Tensor):
        if name.startswith("__") and callable(getattr(torch.Tensor, name)):
            if name in comparisons or not hasattr(MaskRule, name):
                setattr(MaskRule, name, refusal(name))


_refuse_operators()


def row_chunks(n: int) -> Iterator[tuple[int, int]]:
    rows = min(max(MASK_BUDGET // n, 16), 1024)
    return ((begin, min(begin + rows, n)) for begin in range(0, n, rows))


def mask_rows(begin: int, end: int, first: int, last: int, causal: bool, window: int | None, device) -> torch.Tensor:
    """Which of the keys first..last the queries begin..end see."""
    q = torch.arange(begin, end, device=device)[:, None]
    k = torch.arange(first, last, device=device)[None]
    if not causal:
        return torch.ones(end - begin, last - first, dtype=torch.bool, device=device)
    return (k <= q) if window is None else (k <= q) & (k > q - window)
