"""Why a capture can't be opened or read, in words, and floats in every type and byte order that HDF5 has."""

import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from cli_helpers import problem, refused


def test_folder(box):
    box.path("capture.h5").mkdir()
    refused(box, "capture.h5", "it is a folder")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read all")
def test_permission(box):
    box.capture().chmod(0)
    refused(box, "capture.h5", "Permission denied")


def test_locked(box):
    """A notebook that has the capture open for writing: HDF5's lock, not the file, is the cause."""
    with h5py.File(box.capture(), "r+"):
        locks = Path("/proc/locks")
        is_told = locks.exists() and str(os.getpid()) in locks.read_text().split()
        who = [f"process {os.getpid()} (", "pytest"] if is_told else ["another program"]
        refused(box, "capture.h5", "is locked: ", *who, "close it there")
    box.run("list", "datasets", "capture.h5")


def test_writer_that_was_killed(box):
    box.capture()
    code = ("import h5py, os; f = h5py.File('capture.h5', 'a', libver='latest'); f.create_dataset('x', data=[1]); "
            "f.flush(); os._exit(0)")
    with h5py.File(box.path("capture.h5"), "r") as old, h5py.File(box.path("new.h5"), "w", libver="latest") as new:
        new.attrs.update(old.attrs)
        old.copy("problems", new)
    box.path("new.h5").rename(box.path("capture.h5"))
    subprocess.run([sys.executable, "-c", code], cwd=box.folder, check=True)
    refused(box, "capture.h5", "marked as open for writing", "h5clear -s")


def test_filter_that_is_not_there(box):
    path = box.capture(p=problem())
    with h5py.File(path, "a") as file:
        k = np.zeros_like(file["problems/p/k"][()])
        del file["problems/p/k"]
        file.create_dataset("problems/p/k", data=k, chunks=k.shape, compression="lzf")
    refused(box, "capture.h5", "p", "'k'", "compressed with 'lzf'", "gzip")


def bfloat16_type(big_endian):
    """HDF5's own type, which h5py has no name for."""
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_size(2)
    kind.set_ebias(127)
    kind.set_order(h5py.h5t.ORDER_BE if big_endian else h5py.h5t.ORDER_LE)
    return kind


def store_as(group, kind, bits):
    """Replaces q, k and v by bytes of an HDF5 type."""
    for name, x in bits.items():
        del group[name]
        dataset = h5py.h5d.create(group.id, name.encode(), kind, h5py.h5s.create_simple(x.shape))
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, x, mtype=kind)


def test_every_way_to_store_bfloat16_is_the_same_problem(box):
    """Values that float16 lacks: 70144 reads as infinity there, 2.142e-7 as 1.192e-7."""
    parts = problem(bfloat16=True)
    for name in "qkv":
        parts[name][0, :2, 0] = 0x4789, 0x3466
    path = box.capture(p=parts)
    bits = {name: parts[name] for name in "qkv"}
    opaque = h5py.h5t.create(h5py.h5t.OPAQUE, 2)
    opaque.set_tag(b"")
    ways = {"uint16": None, "little": bfloat16_type(False), "big": bfloat16_type(True), "opaque": opaque}
    seen = set()
    for way, kind in ways.items():
        if kind is not None:
            with h5py.File(path, "a") as file:
                store_as(file["problems/p"], kind, {n: x.byteswap() if way == "big" else x for n, x in bits.items()})
            if way == "opaque":
                refused_opaque = box.fails(5, "list", "datasets", "capture.h5", says=["'q' is 2 bytes of no type"])
                assert "set its attribute dtype to 'bfloat16'" in refused_opaque
                with h5py.File(path, "a") as file:
                    for name in "qkv":
                        file[f"problems/p/{name}"].attrs["dtype"] = "bfloat16"
        row, = box.sweep(box.config({"dense": {}}), "--quick", "--force")
        assert row["dtype"] == "bfloat16"
        seen.add((row["fingerprint"], row["id"]))
    assert len(seen) == 1


@pytest.mark.parametrize("kind", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
def test_scale_of_any_float_type(box, kind):
    box.capture(p=problem(scale=np.array(0.1, kind)[()]), q=problem(scale=float(np.array(0.1, kind))))
    config = box.config({"dense": {}}, [{"path": "capture.h5", "problems": ["p"]}])
    one = box.sweep(config, "--quick", out="p")[0]["fingerprint"]
    config = box.config({"dense": {}}, [{"path": "capture.h5", "problems": ["q"]}])
    assert box.sweep(config, "--quick", out="q")[0]["fingerprint"] == one
