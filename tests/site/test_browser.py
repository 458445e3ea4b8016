"""The built site in a real browser."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def address(site):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser(chromium):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page that remembers what went wrong on it, and what it asked of other hosts."""
    page = browser.new_page()
    page.wrong = []
    page.on("console", lambda m: page.wrong.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("requestfailed", lambda request: page.wrong.append(f"failed: {request.url}"))
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "data:", "blob:"))
            else page.wrong.append(f"elsewhere: {request.url}")
        ),
    )
    yield page
    page.close()


@pytest.mark.parametrize("name", ["index.html", "methods.html", "api/methods.html"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_loads(page, address, name, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(f"{address}/{name}", wait_until="networkidle")
    assert page.wrong == []
    assert page.locator("h1").first.is_visible()
    used = page.locator("body").get_attribute("data-md-color-scheme")
    assert used == {"light": "default", "dark": "slate"}[scheme]
    loaded = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert all(loaded)
    assert loaded or name.startswith("api/")


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


def test_nothing_scrolls_sideways_on_a_phone(page, address, site):
    page.set_viewport_size(PHONE)
    wide = {}
    for file in sorted(site.rglob("*.html")):
        page.goto(f"{address}/{file.relative_to(site)}", wait_until="load")
        width = page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[file.name] = width
    assert wide == {}
