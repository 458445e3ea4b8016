"""The page in a real browser: it sorts, it fits, and nothing on it fails."""

import pytest

from .test_report import made

__all__ = ["made"]


@pytest.fixture
def opened(browser, made):
    _, out, _ = made
    pages = []

    def open_at(width):
        page, wrong = browser.new_page(viewport={"width": width, "height": 800}), []
        pages.append(page)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto((out / "report.html").as_uri())
        return page, wrong

    yield open_at
    for page in pages:
        page.close()


def column(page, table, number):
    return page.evaluate(
        "([t, i]) => [...document.querySelectorAll('table')[t].tBodies[0].rows]"
        ".map(row => row.cells[i].textContent)",
        [table, number],
    )


def test_tables_sort_by_a_click_or_a_key(opened):
    page, wrong = opened(1280)
    head = page.locator("table").first.locator("thead th")
    names = head.all_text_contents()
    difference = names.index("difference to unguided")
    before = column(page, 0, difference)
    assert "-" in before

    def numbers():
        return [float(text.split()[0]) for text in column(page, 0, difference) if text != "-"]

    head.nth(difference).click()
    assert numbers() == sorted(numbers(), reverse=True)
    assert head.nth(difference).get_attribute("aria-sort") == "descending"
    assert column(page, 0, difference)[-1] == "-"
    head.nth(difference).press("Enter")
    assert numbers() == sorted(numbers()) and column(page, 0, difference)[-1] == "-"
    # The third time it is as it was written.
    head.nth(difference).press("Enter")
    assert column(page, 0, difference) == before
    assert head.nth(difference).get_attribute("aria-sort") is None
    head.nth(0).click()
    conditions = column(page, 0, 0)
    assert conditions == sorted(conditions, key=str.lower)
    assert wrong == []


@pytest.mark.parametrize("width", [390, 1280])
def test_pictures_fit_the_page(opened, width):
    page, wrong = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    boxes = page.evaluate(
        "[...document.querySelectorAll('.picture')].map(x => [x.clientWidth, x.scrollWidth,"
        " x.querySelector('img').getBoundingClientRect().width])"
    )
    assert boxes
    for room, needed, drawn in boxes:
        assert needed <= room and drawn <= room + 1
    assert wrong == []
