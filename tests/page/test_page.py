"""The page of a run, in a browser: what it shows, how it is operated, and that it needs nothing from elsewhere."""

import json
import re
import time

import pytest

from made_run import made_run
from page_file import LIBRARY, write_page

POINTS = "#pareto figure:first-child .points_marks path"


def drawn(page, section="pareto"):
    """Waits until the plots of a section are drawn."""
    page.locator(f"#{section}").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{section} .drawn svg")


def marks(page, count=None):
    if count is None:
        return page.locator(POINTS).count()
    page.wait_for_function("([marks, count]) => document.querySelectorAll(marks).length === count", arg=[POINTS, count])


def hover(page, mark):
    box = page.locator(mark).first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_selector(".tip:not([hidden])")
    return page.locator(".tip").inner_text()


def rows(page, section):
    """Of the table that a section's first plot opens."""
    page.wait_for_selector(f"#{section} .rows[open] td")
    return page.locator(f"#{section} .rows").first.locator("tbody tr").count()


def contrast(page, selector):
    """Of the text of an element on what lies behind it, as WCAG defines it."""
    return page.locator(selector).first.evaluate("""node => {
      const parts = text => text.match(/[\\d.]+/g).map(Number);
      const light = color => parts(color).slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
      let behind = node;
      while ((parts(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
      const two = [light(getComputedStyle(node).color), light(getComputedStyle(behind).backgroundColor)];
      return (Math.max(...two) + 0.05) / (Math.min(...two) + 0.05);
    }""")


def tab_to(page, selector, most=80):
    for _ in range(most):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"{most} times Tab don't reach {selector}")


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_without_errors_and_fits_the_width(show, shot, width, scheme):
    page = show(made_run(failures=6), width=width, color_scheme=scheme)
    for section in ("pareto", "heads", "times"):
        drawn(page, section)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shot(page, f"page-{width}-{scheme}")


def test_one_problem_and_none(show, shot):
    few = made_run(title="quickstart", layers=(17,), kv_heads=1, lengths=(8192,), heads=9, rounds=2,
                   methods=("dense", "sale", "block_topk", "oracle_topk"))
    page = show(few)
    drawn(page)
    assert marks(page) == 1 + 4 + 4 + 3  # rounds of a cell are one mark
    assert "at 1 problem" in page.locator("#pareto .remark").inner_text()
    shot(page, "one-problem")
    page = show(made_run(title="begun", datasets=(), planned=20), width=390)
    assert "0 of 20" in page.locator(".facts").inner_text()
    assert page.locator("#pareto .empty").inner_text() == "No cell is ok yet."
    shot(page, "no-cell")


def test_hover_tells_method_and_settings(show):
    page = show(made_run(layers=(3,), kv_heads=1, lengths=(4096,), methods=("sale",)))
    drawn(page)
    text = hover(page, POINTS)
    for word in ("sale", "bits=8 threshold=0.002", "layer03_kv0", "4096", "density", "recall", "error", "speedup"):
        assert word in text
    drawn(page, "heads")
    page.locator("#heads .drawn").first.scroll_into_view_if_needed()
    assert "layer03_kv0, head 0" in hover(page, "#heads .mark-rect path")
    page.keyboard.press("Escape")
    assert page.locator(".tip").is_hidden()


def test_filters_change_the_marks(show):
    page = show(made_run())  # 2 layers, 2 KV heads, 2 lengths; 27 settings
    drawn(page)
    assert marks(page) == 27
    page.uncheck("#aggregate")
    marks(page, 27 * 8)
    page.select_option("#filter-layer", "17")
    marks(page, 27 * 4)
    page.select_option("#filter-length", "4096")
    marks(page, 27 * 2)
    page.get_by_label("streaming", exact=True).uncheck()
    marks(page, 24 * 2)
    page.click("#methods-none")
    assert page.locator("#pareto .empty").inner_text() == "The filters leave no setting."
    page.click("#methods-all")
    marks(page, 27 * 2)
    page.select_option("#filter-layer", "")
    assert page.locator("#filter-length").input_value() == "4096"


def test_times_in_doubt_are_hollow_and_can_be_left_out(show):
    data = made_run(layers=(3,), kv_heads=1, lengths=(4096,))
    data["cells"]["busy"] = [int(cell == 2) for cell in data["cells"]["cell"]]
    data["cells"]["converged"] = [int(cell != 5) for cell in data["cells"]["cell"]]
    page = show(data)
    drawn(page)
    assert marks(page) == 27 and page.locator(POINTS + "[fill-opacity='0']").count() == 2
    assert "in doubt" in page.locator("#pareto .legend").inner_text()
    page.check("#trusted")
    marks(page, 25)


def test_target_changes_ranking_verdict_and_line(show):
    page = show(made_run())
    drawn(page)
    before = page.locator("#ranking tbody").first.inner_text()
    assert "At relative error of the output at most 0.05: " in page.locator(".verdict").inner_text()
    assert page.locator("#pareto svg text", has_text="target 0.05").count() == 1
    page.select_option("#target", label="mean recall at least 0.95")
    assert page.locator("#ranking tbody").first.inner_text() != before
    assert "At mean recall at least 0.95: " in page.locator(".verdict").inner_text()
    page.locator("#pareto figure:nth-child(2) svg text", has_text="target 0.05").wait_for()  # 1 - recall
    page.check("#by-length")
    assert "faster than dense from" in page.locator("#ranking thead").inner_text()


def test_ranking_sets_oracles_apart_and_marks_the_baseline(show):
    page = show(made_run())
    bodies = page.locator("#ranking tbody")
    assert bodies.count() == 2 and "oracle_topk" not in bodies.first.inner_text()
    assert "oracles" in bodies.nth(1).inner_text() and "oracle_topk" in bodies.nth(1).inner_text()
    assert page.locator("#ranking tr", has_text="baseline").locator("th").inner_text().startswith("dense")


def test_exact_settings_stand_below_the_target(show):
    page = show(made_run(layers=(3,), kv_heads=1, lengths=(4096,), methods=("dense",)))
    drawn(page)
    line = page.locator("#pareto figure:first-child svg text", has_text="target 0.05").bounding_box()
    assert page.locator(POINTS).bounding_box()["y"] > line["y"] + line["height"]
    assert "1 below 0.0001" in page.locator("#pareto .remark").inner_text()


def test_keyboard_alone_operates_the_controls(show):
    page = show(made_run())
    tab_to(page, "#target")
    chosen = page.locator("#target").input_value()
    page.keyboard.press("ArrowDown")
    assert page.locator("#target").input_value() != chosen
    tab_to(page, "[name=by]")
    page.keyboard.press("ArrowRight")
    assert page.locator("#by-length").is_checked()
    tab_to(page, "[name=x]")
    outline = page.evaluate("getComputedStyle(document.activeElement.parentElement).outlineStyle")
    assert outline == "solid"
    tab_to(page, "#aggregate")
    page.keyboard.press("Space")
    assert not page.locator("#aggregate").is_checked()
    tab_to(page, "#method-0")
    page.keyboard.press("Space")
    assert not page.locator("#method-0").is_checked()
    tab_to(page, "#pareto summary")
    page.keyboard.press("Enter")
    assert rows(page, "pareto") == 26 * 8


def test_plots_have_names_and_tables(show):
    page = show(made_run())
    drawn(page)
    assert "27 settings of 9 methods" in page.locator("#pareto .plot").first.get_attribute("aria-label")
    for section in ("pareto", "heads", "times"):
        page.locator(f"#{section} summary").first.click()
        assert rows(page, section) > 8
    assert page.locator("input:not([aria-label]):not(label input), select:not(label select)").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_both_schemes(show, scheme):
    page = show(made_run(failures=3), color_scheme=scheme)
    behind = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, behind[4:-1].split(","))) < 150) == (scheme == "dark")
    for selector in ("h1", ".verdict", ".facts dt", "nav a", "th", "td", ".range", ".tag", ".notes li", "legend",
                     "button", "select", ".legend span", ".remark", "summary", ".command code", "td.status",
                     ".pairs dt"):
        assert contrast(page, selector) >= 4.5, selector


def test_plots_follow_the_scheme(show):
    page = show(made_run(methods=("dense", "sale")))
    drawn(page)
    label = "#pareto .drawn .role-axis-label text"
    before = page.locator(label).first.get_attribute("fill")
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("([label, before]) => document.querySelector(label).getAttribute('fill') !== before",
                           arg=[label, before])


def test_what_captures_say_is_shown_as_text(show):
    name = """<img src=x onerror="document.title='changed'">'&</script><script>document.title='changed'</script>"""
    data = made_run(title=name, datasets=(name, "b"), layers=(3,), kv_heads=1, lengths=(4096,), failures=2)
    data["notes"].append(name)
    for column in ("settings", "reason", "repro"):
        data["cells"][column]["of"] = [f"{text} {name}" for text in data["cells"][column]["of"]]
    data["machine"].append([name, name])
    data["config"] = name
    page = show(data)
    drawn(page)
    assert page.title() == f"{name} \u2013 SALEbench" and page.locator("h1").inner_text() == name
    assert name in page.locator("#filter-dataset").inner_text()
    assert name in hover(page, POINTS)
    for section in ("heads", "times"):
        drawn(page, section)
    for selector in ("#ranking .notes", "#failures .reason", "#failures code", "#machine dd"):
        assert page.locator(selector, has_text=name).count() > 0
    assert page.locator("img").count() == 0


def test_failures_tell_reason_and_how_to_repeat(show):
    data = made_run(failures=4)
    page = show(data)
    rows = page.locator("#failures tbody tr")
    assert rows.count() == 4
    text = page.locator("#failures").inner_text()
    for word in ("unsupported", "cannot allocate 18.2 GiB", "longer than 120 s", "signal 11"):
        assert word in text
    assert rows.first.locator("code").inner_text().startswith("salebench run config.yaml --only ")
    rows.first.get_by_role("button").click()
    rows.first.locator("button", has_text=re.compile("copied|selected")).wait_for()


def test_without_the_library_tables_stand_for_the_plots(context, tmp_path):
    page = context().new_page()
    page.goto(write_page(tmp_path / "page.html", made_run(), with_library=False).as_uri())
    assert "scripts/get_vega" in page.locator(".notice").inner_text()
    assert page.locator("#ranking tbody tr").count() == 10
    assert rows(page, "pareto") == 27


def test_library_carries_its_licence_and_ends_no_script(library):
    text = LIBRARY.read_text()
    licence, code = text.split("*/", 1)
    assert licence.startswith("/*!") and "University of Washington Interactive Data Lab" in licence
    assert "Redistributions in binary form must reproduce" in licence and "window.vegaEmbed" in code
    assert "</script" not in text.lower() and "<!--" not in text


def test_a_large_run_is_small_and_quick(show, tmp_path):
    data = made_run(datasets=("a.h5", "b.h5"), layers=(3, 9, 17, 21, 25), kv_heads=2, lengths=(4096, 8192), heads=9)
    assert data["cells"]["rows"] >= 1000
    page = show(data)  # the browser is up
    start = time.monotonic()
    page.reload()
    drawn(page)
    assert "density" in hover(page, POINTS)
    first = time.monotonic() - start
    start = time.monotonic()
    page.uncheck("#aggregate")
    marks(page, data["cells"]["rows"])
    each = time.monotonic() - start
    size = (tmp_path / "page.html").stat().st_size
    print(f"{data['cells']['rows']} cells: {size / 1e6:.2f} MB, first hover {first:.2f} s, all cells {each:.2f} s")
    assert size <= 3e6 and first <= 2 and each <= 2


def test_the_programs_page(real_page, context, shot):
    for width in (1400, 390):
        page = context(width=width).new_page()
        page.goto(real_page.as_uri())
        assert page.locator("#ranking tbody tr").count() >= 3
        assert page.evaluate("document.documentElement.scrollWidth") == width
        data = json.loads(page.locator("#salebench-data").text_content())
        assert data["schema"] == 1 and data["cells"]["rows"] == data["planned"]
        shot(page, f"program-{width}")
