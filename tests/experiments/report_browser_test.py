"""The page of the report, used in Chromium."""

import re

import pytest

from tests.experiments import browser as browsers
from tests.experiments.report_runs import STRANGE, make_page, write_log, write_run


@pytest.fixture(scope="module")
def browser():
    opened = browsers.Browser(browsers.require_browser())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "a", hidden=64)
    write_run(folder / "b <i>&", hidden=32, seeds=(0, 1), claim=STRANGE)
    return make_page(folder)


@pytest.fixture
def tab(browser, page):
    browser.errors.clear()
    browser.requests.clear()
    browser.scheme("light")
    browser.resize(1280)
    browser.open(page)
    return browser


CURVES = (
    "document.querySelector('#curves0 .plot').children.length > 0 && report.panels[0].state.view"
)


def show_curves(tab):
    tab.run("document.getElementById('curves').scrollIntoView({behavior: 'instant'})")
    tab.wait(f"Boolean({CURVES})")


def visible(tab, name):
    """Kinds of the glyphs of a curve, and whether each is visible."""
    panels = tab.run(
        "report.panels[0].state.plot.renderers.map(r => [r.name, r.glyph.type, r.visible])"
    )
    return {kind: shown for at, kind, shown in panels if at == name}


def test_a_page_has_no_errors_and_loads_nothing(tab):
    for scheme in ("light", "dark"):
        tab.scheme(scheme)
        show_curves(tab)
        tab.run("document.getElementById('clients').scrollIntoView({behavior: 'instant'})")
        tab.wait("document.querySelectorAll('#clients0 circle').length > 0")
    assert tab.errors == []
    assert all(url.startswith(("file:", "data:", "blob:")) for url in tab.requests)
    assert tab.run("window.broken === undefined")


def test_a_script_that_fails_is_an_error(tab):
    tab.run("setTimeout(() => { throw new Error('seen'); })")
    tab.run("new Promise(done => setTimeout(done, 50))")
    assert any("seen" in error for error in tab.errors)


def test_a_table_is_sorted_by_a_click_or_a_key(tab):
    def column():
        rows = "document.querySelectorAll('#table-results tbody tr')"
        return tab.run(f"[...{rows}].map(row => row.cells[{at}].textContent)")

    header = "#table-results th:nth-child({}) button"
    at = 3  # steps: 9 comes before 100 as a number
    tab.click(header.format(at + 1))
    assert column() == ["9", "9", "100", "100"]
    tab.press("Enter")
    assert column() == ["100", "100", "9", "9"]
    sorts = "[...document.querySelectorAll('#table-results th')].map(h => h.ariaSort)"
    assert tab.run(sorts) == [None, None, None, "descending", None]
    at = 4  # notes: empty cells come last
    for _ in range(2):
        tab.click(header.format(at + 1))
        assert [bool(text) for text in column()] == [True, True, False, False]


def test_a_table_is_filtered(tab):
    shown = (
        "[...document.querySelectorAll('#table-results tbody tr')].filter(r => !r.hidden).length"
    )
    assert tab.run(shown) == 4
    tab.click("[data-filters=table-results]")
    tab.call("Input.insertText", text="RELAY a")
    assert tab.run(shown) == 2
    count = "document.querySelector('[data-counts=table-results]').textContent"
    assert tab.run(count) == "2 of 4 rows"
    assert tab.run("document.querySelector('#table-results th:last-child').hidden")  # all empty


def test_a_legend_entry_shows_and_hides_a_curve_with_its_band(tab):
    show_curves(tab)
    entries = tab.run(
        "[...document.querySelectorAll('#curves0 [data-curve]')].map(b => b.innerText)"
    )
    assert entries == ["a: gossip", "a: relay", "b <i>&: gossip", "b <i>&: relay"]
    shown, hidden = (dict.fromkeys(("VArea", "Scatter", "Line"), state) for state in (True, False))
    assert visible(tab, "curve 1") == shown
    tab.click("#curves0 [data-curve='1']")
    assert visible(tab, "curve 1") == hidden and visible(tab, "curve 3") == shown
    assert tab.run("document.querySelector('#curves0 [data-curve]').ariaPressed") == "false"
    tab.press("Enter")
    assert visible(tab, "curve 1") == shown


def test_the_metric_and_the_settings_can_be_chosen(tab):
    show_curves(tab)
    label = "report.panels[0].state.plot.left[0].axis_label"
    assert tab.run(label) == "test mean accuracy"
    caption = "document.querySelector('#curves0 .caption').textContent"
    assert "95 % confidence interval" in tab.run(caption)
    assert "fewer than 3 seeds" in tab.run(caption)
    tab.run(
        "(() => { const list = document.querySelector('#curves0 select'); list.value = 'loss';"
        "list.dispatchEvent(new Event('change')); })()"
    )
    tab.wait(f"{label} === 'loss' && Boolean({CURVES})")
    tab.click("#curves0 label:last-child input")
    tab.wait("document.querySelectorAll('#curves0 [data-curve]').length === 8")
    first = "document.querySelector('#curves0 [data-curve]').innerText"
    assert tab.run(first) == "a: gossip, learning rate 0.1"


def test_many_curves_and_presets_begin_with_some(tab, tmp_path):
    for name in ("quick", "slow"):
        path = write_run(tmp_path / name) / "summary.json"
        path.write_text(path.read_text().replace('"quick"', f'"{name}"'))
    lines = [
        {"rule": f"rule {i}", "attack": f"attack {j}", "round": t, "loss": i * j}
        for i in range(5)
        for j in range(4)
        for t in range(2)
    ]
    write_log(tmp_path / "quick", *lines)
    tab.open(make_page(tmp_path))
    show_curves(tab)
    entries = "document.querySelectorAll('#curves0 [data-curve]').length"
    assert tab.run(entries) == 5  # all rules, the first attack
    tab.run(
        "(() => { const list = document.querySelectorAll('#curves0 select')[2]; list.value = '';"
        "list.dispatchEvent(new Event('change')); })()"
    )
    assert tab.run(entries) == 20
    shown = "[...document.querySelectorAll('#curves .panel')].map(p => p.offsetHeight > 0)"
    assert tab.run(shown) == [True, True]
    tab.run(
        "(() => { const list = document.querySelector('#curves select'); list.value = 'curves1';"
        "list.dispatchEvent(new Event('change')); })()"
    )
    assert tab.run(shown) == [False, True]
    assert tab.errors == []


def test_the_animation_moves(tab):
    tab.run("document.getElementById('clients').scrollIntoView({behavior: 'instant'})")
    tab.wait("document.querySelectorAll('#clients0 circle').length === 12")
    assert tab.run("document.querySelectorAll('#clients0 svg line').length") == 8
    color = "document.querySelector('#clients0 circle').style.fill"
    slider = "document.querySelector('#clients0 input').value"
    output = "document.querySelector('#clients0 output').textContent"
    last = tab.run(color)
    assert (tab.run(slider), tab.run(output)) == ("2", "round 20 of 20")
    tab.run("document.querySelector('#clients0 input').focus()")
    tab.press("ArrowLeft")
    assert (tab.run(slider), tab.run(output)) == ("1", "round 10 of 20")
    assert tab.run(color) != last
    tab.press("ArrowRight")
    tab.click("#clients0 .player button")  # from the start
    assert tab.run(slider) == "0" and "Pause" in tab.run(
        "document.querySelector('.player').innerText"
    )
    tab.wait(f"{slider} === '2'")
    assert tab.run(color) == last and "Play" in tab.run(
        "document.querySelector('.player').innerText"
    )


@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_does_not_scroll_sideways(tab, width):
    tab.resize(width)
    show_curves(tab)
    tab.run("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    tab.run("document.getElementById('clients').scrollIntoView({behavior: 'instant'})")
    tab.wait("document.querySelectorAll('#clients0 circle').length > 0")
    assert tab.run("document.documentElement.scrollWidth") <= width
    assert tab.run("innerWidth") == width


def test_colors_follow_the_preference(tab):
    def lightness(name):
        color = tab.run(f"getComputedStyle(document.body).{name}")
        return sum(map(int, re.findall(r"\d+", color))) / (3 * 255)

    assert lightness("backgroundColor") > 0.9 and lightness("color") < 0.2
    tab.scheme("dark")
    assert lightness("backgroundColor") < 0.2 and lightness("color") > 0.8
