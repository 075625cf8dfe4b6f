import pytest
from install_helpers import BUILD, CMAKE, Elsewhere, checked


@pytest.fixture(scope="session")
def prefix(tmp_path_factory):
    """What `cmake --install` makes."""
    folder = tmp_path_factory.mktemp("installed")
    checked(CMAKE, "--install", BUILD, "--prefix", folder)
    return folder


@pytest.fixture
def installed(tmp_path, prefix):
    return Elsewhere(tmp_path, prefix)
