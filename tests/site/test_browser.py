"""The built site in a real browser."""

import pytest

PHONE = {"width": 390, "height": 844}


@pytest.mark.parametrize("name", ["index.html", "methods.html", "api/methods.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_loads(page, address, name, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{address}/{name}", wait_until="networkidle")
    assert page.wrong == []
    assert page.locator("h1").first.is_visible()
    used = page.locator("body").get_attribute("data-md-color-scheme")
    assert used == {"light": "default", "dark": "slate"}[scheme]
    pictures = page.locator("img:visible").all()
    for picture in pictures:
        picture.scroll_into_view_if_needed()
        page.wait_for_load_state("networkidle")
        assert picture.evaluate("async i => { await i.decode(); return i.naturalWidth }") > 0
    assert pictures or name.startswith("api/")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_drawing_is_there_once_in_the_colours_of_the_scheme(page, address, scheme):
    page.emulate_media(color_scheme=scheme)
    for name, selector in (("inside.html", "a > img"), ("gallery.html", "img[src*=idea]")):
        page.goto(f"{address}/{name}", wait_until="load")
        shown = page.locator(f"{selector}[src$='.svg']:visible")
        assert shown.count() == 1
        assert shown.get_attribute("src").endswith("-dark.svg") == (scheme == "dark")


def test_a_picture_has_its_room_before_it_is_loaded(page, address):
    page.route("**/*.svg", lambda route: None)
    page.goto(f"{address}/inside.html", wait_until="load")
    box = page.locator(".only-light img").bounding_box()
    assert box["height"] > box["width"] > 300


def test_formulas_have_a_size(page, address):
    page.goto(f"{address}/methods.html")
    assert page.locator("math").first.bounding_box()["width"] > 5


def test_search_finds_a_method(page, address):
    page.goto(f"{address}/index.html", wait_until="networkidle")
    query = page.locator("[data-md-component=search-query]").first
    query.click()
    # Key by key: the theme listens to keys.
    query.press_sequentially("best_of_n")
    result = page.locator(".md-search-result__item", has_text="best_of_n").first
    result.wait_for(state="visible", timeout=20_000)
    assert page.wrong == []


# Of tables wider than their place, those without a scroll bar, and those whose first column, which
# stays, takes more than half of what is seen.
_HIDING = """[...document.querySelectorAll(".md-content table")]
    .filter((table) => table.scrollWidth > table.clientWidth)
    .filter((table) => getComputedStyle(table).overflowX !== "auto"
        || 2 * table.rows[0].cells[0].offsetWidth > table.clientWidth)
    .map((table) => table.rows[0].innerText)"""


def test_nothing_scrolls_sideways_on_a_phone(page, address, site):
    page.set_viewport_size(PHONE)
    wide, hiding = {}, {}
    for file in sorted(site.rglob("*.html")):
        page.goto(f"{address}/{file.relative_to(site)}", wait_until="load")
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[file.name] = width
        if found := page.evaluate(_HIDING):
            hiding[file.name] = found
    assert wide == {} and hiding == {}
