"""The page of a run that goes on: it asks for new data, and keeps what the reader chose."""

import functools
import http.server
import threading

import pytest

from made_run import made_run
from page_file import json_of, page_html


class Server:
    """Serves a page and its data.json, which tests change."""

    def __init__(self, data):
        self.page, self.text, self.asked, self.gone = page_html(data), json_of(data), [], False
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"  # before it there are no tags

            def do_GET(self):
                if owner.gone:  # on a connection that the browser has kept
                    self.close_connection = True
                    return
                is_data = self.path == "/data.json"
                body = (owner.text if is_data else owner.page).encode()
                tag = f'"{hash(body)}"'
                owner.asked.append(self.headers.get("If-None-Match") == tag)
                self.send_response(304 if owner.asked[-1] else 200)
                self.send_header("ETag", tag)
                self.send_header("Content-Type", "application/json" if is_data else "text/html; charset=utf-8")
                self.send_header("Content-Length", str(0 if owner.asked[-1] else len(body)))
                self.end_headers()
                if not owner.asked[-1]:
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/"
        threading.Thread(target=functools.partial(self.http.serve_forever, 0.05), daemon=True).start()

    def stop(self):
        self.gone = True
        self.http.shutdown()
        self.http.server_close()


def cut(data, rows):
    """The data when only the first cells have ended."""
    cells = {name: {**column, "at": column["at"][:rows]} if isinstance(column, dict) else column[:rows]
             for name, column in data["cells"].items() if name != "rows"}
    keep = sum(cell in cells["cell"] for cell in data["heads"]["cell"])
    count = sum(data["heads"]["heads"][:keep])
    heads = {name: column[:keep if name in ("cell", "heads") else count] for name, column in data["heads"].items()}
    return {**data, "cells": {"rows": rows, **cells}, "heads": heads}


@pytest.fixture
def live(browser, library):
    whole = made_run(live=True, layers=(3,), lengths=(4096,))
    server = Server(cut(whole, 30))
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    page = context.new_page()
    page.goto(server.address)
    yield page, server, whole
    context.close()
    if not server.gone:
        server.stop()


def status(page, text):
    page.wait_for_function("text => document.querySelector('.progress')?.innerText.includes(text)", arg=text,
                           timeout=15000)


def test_follows_the_run_and_keeps_the_choices(live):
    page, server, whole = live
    status(page, "running: 30 of 54 cells")
    page.uncheck("#method-1")
    page.check("#x-density")
    page.focus("#aggregate")
    page.wait_for_timeout(4500)
    assert any(server.asked)  # asked for what it has: not modified
    server.text = json_of(cut(whole, 45))
    status(page, "running: 45 of 54 cells")
    assert page.locator("progress").evaluate("bar => bar.value") == 45
    assert not page.locator("#method-1").is_checked() and page.locator("#x-density").is_checked()
    assert page.evaluate("document.activeElement.id") == "aggregate"
    server.text = json_of(whole)
    status(page, "finished: all 54 cells")
    asked = len(server.asked)
    page.wait_for_timeout(2500)
    assert len(server.asked) == asked


def test_says_when_the_server_is_gone(live):
    page, server, _ = live
    status(page, "running: 30 of 54 cells")
    server.stop()
    status(page, "the server does not answer")
    assert page.locator("#ranking tbody tr").count() > 3
