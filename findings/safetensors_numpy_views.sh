#!/usr/bin/env bash
# Guess, before running it: a library that stores arrays under names writes what a view holds, or refuses a view that is
# not contiguous, as its PyTorch side does.
# Seen with safetensors 0.8.0 and numpy 2.4.6: safetensors.numpy.save_file takes a transposed view without a word, writes
# its shape, and below it the bytes in the order of the array that the view is of: the values that are read back are
# other ones in other places. A strided view is written wrongly too. np.ascontiguousarray(x) before saving is the cure.
# Here this matters as [length, heads, dim] is often transposed to [heads, length, dim] just before it is saved.
# Prints what was read back; exits with 1 if it is no longer so. PYTHON names the interpreter (default python3).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
"$folder/venv/bin/python" - "$folder/x.safetensors" << 'PYTHON'
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

tokens_first = np.arange(6, dtype=np.float32).reshape(3, 2)
views = {"contiguous": tokens_first, "transposed": tokens_first.T, "copied": np.ascontiguousarray(tokens_first.T)}
save_file(views, sys.argv[1])
same = {}
for name, stored in load_file(sys.argv[1]).items():
    same[name] = bool(np.array_equal(stored, views[name]))
    print(f"{name}: {views[name].tolist()} is read back as {stored.tolist()}")
sys.exit(0 if same == {"contiguous": True, "transposed": False, "copied": True} else 1)
PYTHON
