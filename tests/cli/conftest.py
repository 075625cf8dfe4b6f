"""A box for each test: a folder with the program run in it. Tests that need more in it have their own."""

import pytest

from cli_helpers import Box


@pytest.fixture
def box(tmp_path):
    box = Box(tmp_path)
    yield box
    box.end_all()
