"""The pages in a browser, as a person uses them: headless Chromium against the started server.

``UPDATE_DOCS=1 pytest tests/live/test_pages_in_browser.py`` writes the pictures in docs/images.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import element_to_be_clickable
from selenium.webdriver.support.wait import WebDriverWait

from benchmarks.server import Client, Server, started

PICTURES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
PASSWORD = "correct horse battery"
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # which root can't have; the pages are our own
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,1500",
)

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver"))
    and "NO_SKIPS" not in os.environ,
    reason="needs Chromium and its driver",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started(os.environ.get("TEST_DATABASE_URL")) as server:
        with Client(server.port) as client:
            account = {"username": "ada", "email": "ada@example.com", "password": PASSWORD}
            assert client.call("POST", "/auth/register", account)[0] == 201
        yield server


class Browser:
    """A browser with nothing in it, that notes what it loads and what goes wrong."""

    def __init__(self, port: int, profile: Path) -> None:
        options = ChromeOptions()
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.binary_location = str(shutil.which("chromium"))
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
        self.origin = f"127.0.0.1:{port}"

    def open(self, path: str) -> None:
        self.driver.get("about:blank")
        self.driver.get_log("performance")  # what the browser's own first page loads
        self.driver.get(f"http://{self.origin}{path}")

    def find(self, selector: str, within: WebElement | None = None) -> WebElement:
        """Wait for an element and return it."""
        place = within or self.driver
        return WebDriverWait(self.driver, 20).until(
            lambda _: next(iter(place.find_elements(By.CSS_SELECTOR, selector)), None)
        )

    def click(self, selector: str, within: WebElement | None = None) -> None:
        found = self.find(selector, within)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        WebDriverWait(self.driver, 20).until(element_to_be_clickable(found)).click()

    def write(self, selector: str, text: str, within: WebElement | None = None) -> None:
        """Type into a field, in place of what it holds."""
        self.click(selector, within)
        self.find(selector, within).send_keys(Keys.CONTROL, "a")
        self.find(selector, within).send_keys(text)

    def picture(self, name: str) -> None:
        if "UPDATE_DOCS" in os.environ:
            PICTURES.mkdir(exist_ok=True)
            self.driver.save_screenshot(str(PICTURES / f"{name}.png"))

    def assert_quiet(self) -> None:
        """Assert that the console holds no error, and that nothing came from another host."""
        assert [entry for entry in self.driver.get_log("browser") if entry["level"] != "INFO"] == []
        messages = (
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        )
        asked = {
            urlsplit(message["params"]["request"]["url"])
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        }
        loaded = {url.netloc for url in asked if url.scheme not in {"data", "blob", "about"}}
        assert loaded == {self.origin}


@pytest.fixture
def browser(server, tmp_path) -> Iterator[Browser]:
    browser = Browser(server.port, tmp_path)
    yield browser
    browser.driver.quit()


class Operation:
    """One operation of Swagger UI, opened."""

    def __init__(self, browser: Browser, tag: str, name: str) -> None:
        self.browser = browser
        block = f"#operations-{tag}-{name}"
        if not browser.driver.find_elements(By.CSS_SELECTOR, f"{block} .opblock-body"):
            browser.click(f"{block} .opblock-summary-control")
        self.block = browser.find(block)

    def execute(self, body: dict | None = None, **parameters: str) -> tuple[int, dict]:
        """Fill it in, send it, and return the status and the body that the page shows."""
        for name, text in parameters.items():
            self.browser.write(f"tr[data-param-name='{name}'] input", text, self.block)
        if body is not None:
            self.browser.write("textarea.body-param__text", json.dumps(body), self.block)
        self.browser.click("button.execute", self.block)
        shown = ".live-responses-table tbody tr"
        status = self.browser.find(f"{shown} .response-col_status", self.block)
        text = self.browser.find(f"{shown} .highlight-code code, {shown} pre", self.block)
        return int(status.text.split()[0]), json.loads(text.get_property("textContent"))


def test_a_task_is_created_and_read_through_swagger_ui(browser):
    browser.open("/docs")
    browser.find("#operations-tasks-createTask")
    browser.picture("docs")

    credentials = {"username": "ada", "password": PASSWORD}
    status, login = Operation(browser, "auth", "logIn").execute(credentials)
    assert (status, login["user"]["username"]) == (200, "ada")

    browser.click("button.authorize")
    browser.write("input[aria-label='auth-bearer-value']", login["access_token"])
    browser.click(".auth-container button.authorize")
    browser.click(".auth-container button.btn-done")

    status, task = Operation(browser, "tasks", "createTask").execute({"title": "Made by hand"})
    assert (status, task["title"]) == (201, "Made by hand")

    # The token outlives the page, and the task is really there.
    browser.open("/docs")
    task_id = str(task["id"])
    status, read = Operation(browser, "tasks", "readTask").execute(task_id=task_id)
    assert (status, read) == (200, task)
    browser.assert_quiet()


def test_redoc_shows_every_operation(browser):
    browser.open("/redoc")
    for summary in ("Open an account", "Create a task", "Delete a task"):
        WebDriverWait(browser.driver, 20).until(
            lambda driver, summary=summary: summary in driver.page_source
        )
    browser.picture("redoc")
    browser.assert_quiet()


@pytest.mark.parametrize("path", ["/", "/problems/stale_version"])
def test_a_plain_page_is_quiet(browser, path):
    browser.open(path)
    assert browser.find("h1").text
    browser.assert_quiet()
