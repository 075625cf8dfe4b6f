"""A browser without a network, and pages in it."""

import os
import pathlib
import shutil
import subprocess

import pytest

from page_file import LIBRARY, write_page

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    if not pathlib.Path(CHROMIUM).exists():
        pytest.skip(f"no browser: {CHROMIUM} is missing")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def library():
    if not LIBRARY.exists():
        pytest.skip("no plotting library: scripts/get_vega")


@pytest.fixture
def context(browser):
    """Makes browser contexts; the test fails if a page of theirs asks for anything but files, or says an error."""
    contexts, wrong = [], []

    def watch(page):
        page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("file:", "data:", "blob:"))
                or wrong.append(request.url))

    def make(width=1400, height=900, **options):
        viewport = {"width": width, "height": height}
        contexts.append(browser.new_context(viewport=viewport, reduced_motion="reduce", **options))
        contexts[-1].on("page", watch)
        return contexts[-1]

    yield make
    for one in contexts:
        one.close()
    assert not wrong


@pytest.fixture
def show(context, tmp_path, library):
    """Opens a page of data."""
    def show(data, **options):
        page = context(**options).new_page()
        page.goto(write_page(tmp_path / "page.html", data).as_uri())
        return page
    return show


@pytest.fixture
def shot():
    """Keeps a picture of a page in the folder PAGE_SHOTS, if that is set."""
    def shot(page, name):
        if folder := os.environ.get("PAGE_SHOTS"):
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            for top in range(0, page.evaluate("document.documentElement.scrollHeight"), 600):
                page.evaluate("top => scrollTo(0, top)", top)  # plots are drawn when they come into view
                page.wait_for_timeout(80)
            page.wait_for_timeout(400)
            page.screenshot(path=f"{folder}/{name}.png", full_page=True)
    return shot


@pytest.fixture(scope="session")
def real_page(tmp_path_factory):
    """A page that the program wrote of a short run."""
    program = os.environ.get("SALEBENCH_PROGRAM")
    if not program or not shutil.which(program):
        pytest.skip("SALEBENCH_PROGRAM names no program")
    if "--html" not in subprocess.run([program, "report", "--help"], capture_output=True, text=True).stdout:
        pytest.skip("this program's report has no --html")
    folder = tmp_path_factory.mktemp("real")
    sample = pathlib.Path(__file__).resolve().parents[2] / "datasets/samples/smollm2-135m_kjv_8k.h5"
    config = folder / "run.yaml"
    config.write_text(f"version: 1\ndatasets: [{{path: {sample}, problems: ['*'], lengths: [512, 1024]}}]\n"
                      "methods: {dense: {}, sale: {threshold: [0.004, 0.05]}, block_topk: {budget: [0.3, 0.6]}}\n"
                      "measure: {max_time: 0.1, min_time: 0.02}\n")
    environment = os.environ | {"SALEBENCH_CACHE": str(folder)}
    run = folder / "run"
    for arguments in (["run", config, "-o", run], ["report", run, "--html", folder / "page.html"]):
        result = subprocess.run([program, *map(str, arguments)], env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
    return folder / "page.html"
