"""Captures post-RoPE Q, K and V of a Hugging Face model into an HDF5 file that SALEbench reads (datasets/README.md).

One problem per (layer, KV head), written layer by layer. Examples and limits: docs/capturing.md.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import datetime
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

try:
    import h5py
    import numpy as np
    import torch
    import transformers
    from prefill import CaptureError, Problem, UsageError, capture, text_config
except ImportError as error:
    if __name__ != "__main__":
        raise
    sys.exit(f"capture: {error}; install requirements-capture.txt, see docs/capturing.md")

CHUNK_ROWS = 4096
SENTENCE_SEARCH = 200  # tokens that a needle moves back at most, to stand between two sentences


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
        self._file.attrs.update({f"{library.__name__}_version": str(library.__version__)
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
        with contextlib.suppress(AttributeError, OSError):  # glibc: HDF5's small blocks pin the heap of freed tensors
            ctypes.CDLL(None).malloc_trim(0)

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


def needle_prompt(tokenizer, haystack: str, needle: str, question: str, depth: float, length: int | None) -> list[int]:
    """Tokens of the haystack with the needle at the depth (0 to 1), after a sentence, and the question at the end."""
    start = [token for token in tokenizer("")["input_ids"] if token == tokenizer.bos_token_id]
    straw = tokenizer(haystack, add_special_tokens=False)["input_ids"]
    pin = tokenizer(f" {needle.strip()}" if depth > 0 else f"{needle.strip()} ", add_special_tokens=False)["input_ids"]
    end = tokenizer(f"\n\n{question.strip()}", add_special_tokens=False)["input_ids"] if question.strip() else []
    extra = len(start) + len(pin) + len(end)
    room = len(straw) if length is None else length - extra
    if room <= 0:
        raise UsageError(f"needle and question alone have {extra} tokens, --length is {length}")
    if room > len(straw):
        raise CaptureError(f"the haystack has {len(straw)} tokens, {room} are needed for --length {length}")
    straw = straw[:room]
    place = round(depth * room)
    if 0 < place < room:
        for candidate in range(place, max(place - SENTENCE_SEARCH, 0), -1):
            if tokenizer.decode(straw[candidate - 1:candidate]).rstrip(" ").endswith((".", "!", "?", "\n")):
                place = candidate
                break
    return start + straw[:place] + pin + straw[place:] + end


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CaptureError(f"cannot read {path}: {error}") from None


def read_token_ids(path: Path) -> list[int]:
    """/token_ids of a capture."""
    try:
        with h5py.File(path) as file:
            return file["token_ids"][()].tolist()
    except (OSError, KeyError) as error:
        raise CaptureError(f"cannot read /token_ids of {path}: {error}") from None


def build_prompt(options: argparse.Namespace) -> tuple[list[int], str]:
    """The token ids that the options ask for, and what to say of them in the capture."""
    if options.token_ids:
        ids, source = read_token_ids(options.token_ids), f"tokens of {options.token_ids.name}"
    else:
        tokenizer = load(transformers.AutoTokenizer, options.model)
        text = read_text(options.prompt or options.haystack)
        if options.prompt:
            ids, source = tokenizer(text)["input_ids"], options.prompt.name
        else:
            ids = needle_prompt(tokenizer, text, options.needle, options.question, options.depth, options.length)
            source = f"{options.haystack.name}, needle at depth {options.depth:g}: {options.needle}"
    if options.length is not None:
        if len(ids) < options.length:
            raise CaptureError(f"the prompt has {len(ids)} tokens, --length is {options.length}")
        ids = ids[:options.length]
    return ids, f"{source}; {len(ids)} tokens"


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def load(loader, name: str, **arguments):
    """from_pretrained of a folder, a name or a GGUF file."""
    place = name
    if name.endswith(".gguf"):
        if not Path(name).is_file():
            raise CaptureError(f"there is no file {name}")
        place, arguments["gguf_file"] = str(Path(name).resolve().parent), Path(name).name
    try:
        return loader.from_pretrained(place, **arguments)
    except Exception as error:  # anything goes wrong in anyone's checkpoint
        raise CaptureError(f"cannot load {name}: {first_line(error)}") from error


def integers(text: str) -> list[int]:
    """A list with ranges: 0,3,10-12."""
    found: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.strip().isdigit() or (last and not last.strip().isdigit()) or part.strip().endswith("-"):
            raise argparse.ArgumentTypeError(f"'{part}' is no number and no range such as 10-12")
        if last and int(last) < int(first):
            raise argparse.ArgumentTypeError(f"the range '{part}' is empty")
        found.update(range(int(first), int(last or first) + 1))
    return sorted(found)


class Parser(argparse.ArgumentParser):
    """Reports mistakes as the rest of the program does."""

    def error(self, message: str):
        raise UsageError(message)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="capture.py", description="Captures post-RoPE Q, K and V of a Hugging Face model.")
    parser.add_argument("--model", required=True, help="folder, name or GGUF file")
    prompt = parser.add_mutually_exclusive_group(required=True)
    prompt.add_argument("--prompt", type=Path, metavar="FILE", help="text of the prompt")
    prompt.add_argument("--haystack", type=Path, metavar="FILE", help="text to hide --needle in")
    prompt.add_argument("--token-ids", type=Path, metavar="FILE.h5", help="take /token_ids of a capture")
    parser.add_argument("--needle", metavar="TEXT", help="sentence to hide in the haystack")
    parser.add_argument("--depth", type=float, default=0.5, help="where to hide it, 0 to 1 (default 0.5)")
    parser.add_argument("--question", default="", metavar="TEXT", help="asked after the haystack")
    parser.add_argument("--length", type=int, help="tokens of the prompt (default: all there are)")
    parser.add_argument("--layers", type=integers, metavar="LIST", help="such as 3,17,20-22 (default: all)")
    parser.add_argument("--kv-heads", type=integers, metavar="LIST", help="such as 0,2 (default: all)")
    parser.add_argument("--allow-windowed", action="store_true", help=argparse.SUPPRESS)  # of old: they are taken
    parser.add_argument("--dtype", choices=["float16", "bfloat16"], default="float16", help="stored (default float16)")
    parser.add_argument("--compute-dtype", choices=["auto", "float32", "bfloat16", "float16"], default="auto",
                        help="that the model runs in (default: that of the checkpoint)")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT.h5")
    parser.add_argument("--force", action="store_true", help="replace OUT.h5")
    options = parser.parse_args(argv)
    if bool(options.haystack) != bool(options.needle):
        parser.error("--haystack and --needle go together")
    if not 0 <= options.depth <= 1:
        parser.error(f"--depth is {options.depth:g}, not between 0 and 1")
    if options.length is not None and options.length < 1:
        parser.error(f"--length is {options.length}")
    if options.output.exists() and not options.force:
        parser.error(f"{options.output} exists; --force replaces it")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device")
    return options


def run(options: argparse.Namespace) -> None:
    transformers.logging.set_verbosity_error()
    on_terminal = sys.stderr.isatty()
    if not on_terminal:
        transformers.logging.disable_progress_bar()
    ids, prompt = build_prompt(options)
    model = load(transformers.AutoModelForCausalLM, options.model, dtype=getattr(torch, options.compute_dtype, "auto"))
    model = model.to(options.device)
    limit = getattr(text_config(model), "max_position_embeddings", None)
    if limit and len(ids) > limit:
        print(f"capture: warning: {len(ids)} tokens, but the model is made for {limit}", file=sys.stderr)
    name = Path(options.model).resolve().name.removesuffix(".gguf") if Path(options.model).exists() else options.model
    start = time.monotonic()

    def progress(layer: int, last: int) -> None:
        text = f"capture: layer {layer} of {last}, {time.monotonic() - start:.0f} s"
        stays = not on_terminal or layer >= last
        print(f"\r{text}" if on_terminal else text, end="\n" if stays else "", file=sys.stderr, flush=True)

    with CaptureFile(options.output, options.dtype, model=name, prompt=prompt) as file:
        file.add_model(model)
        file.add_token_ids(ids)
        capture(model, ids, file.add, layers=options.layers, kv_heads=options.kv_heads, progress=progress)


def main(argv: Sequence[str] | None = None) -> int:
    try:
        run(parse(argv))
    except UsageError as error:
        print(f"capture: {error}", file=sys.stderr)
        return 2
    except CaptureError as error:
        print(f"capture: {error}", file=sys.stderr)
        return 5
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # out of memory, a full disk, a model whose own code fails
        print(f"capture: {type(error).__name__}: {first_line(error)}", file=sys.stderr)
        return 5
    return 0


if __name__ == "__main__":
    sys.exit(main())
