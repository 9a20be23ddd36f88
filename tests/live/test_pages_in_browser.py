"""The documentation pages in headless Chromium.

``UPDATE_DOCS=1 pytest tests/live/test_pages_in_browser.py`` updates the screenshots in docs/images.
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

IMAGES = Path(__file__).resolve().parent.parent.parent / "docs" / "images"
PASSWORD = "correct horse battery"
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # required as root
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
    """A browser with an empty profile that logs its requests and errors."""

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
        self.driver.get_log("performance")  # discards the requests of the browser itself
        self.driver.get(f"http://{self.origin}{path}")

    def find(self, selector: str, within: WebElement | None = None) -> WebElement:
        """Wait for an element and return it."""
        parent = within or self.driver
        return WebDriverWait(self.driver, 20).until(
            lambda _: next(iter(parent.find_elements(By.CSS_SELECTOR, selector)), None)
        )

    def click(self, selector: str, within: WebElement | None = None) -> None:
        element = self.find(selector, within)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        WebDriverWait(self.driver, 20).until(element_to_be_clickable(element)).click()

    def write(self, selector: str, text: str, within: WebElement | None = None) -> None:
        """Replace the text of a field."""
        self.click(selector, within)
        self.find(selector, within).send_keys(Keys.CONTROL, "a")
        self.find(selector, within).send_keys(text)

    def take_screenshot(self, name: str) -> None:
        if "UPDATE_DOCS" in os.environ:
            IMAGES.mkdir(exist_ok=True)
            self.driver.save_screenshot(str(IMAGES / f"{name}.png"))

    def assert_no_errors(self) -> None:
        """Assert that there are no errors and no requests to other hosts."""
        assert [entry for entry in self.driver.get_log("browser") if entry["level"] != "INFO"] == []
        messages = (
            json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")
        )
        urls = {
            urlsplit(message["params"]["request"]["url"])
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        }
        loaded = {url.netloc for url in urls if url.scheme not in {"data", "blob", "about"}}
        assert loaded == {self.origin}


@pytest.fixture
def browser(server, tmp_path) -> Iterator[Browser]:
    browser = Browser(server.port, tmp_path)
    yield browser
    browser.driver.quit()


class Operation:
    """An expanded operation in Swagger UI."""

    def __init__(self, browser: Browser, tag: str, name: str) -> None:
        self.browser = browser
        block = f"#operations-{tag}-{name}"
        if not browser.driver.find_elements(By.CSS_SELECTOR, f"{block} .opblock-body"):
            browser.click(f"{block} .opblock-summary-control")
        self.block = browser.find(block)

    def execute(self, body: dict | None = None, **parameters: str) -> tuple[int, dict]:
        """Execute the operation; return the displayed status and body."""
        for name, text in parameters.items():
            self.browser.write(f"tr[data-param-name='{name}'] input", text, self.block)
        if body is not None:
            self.browser.write("textarea.body-param__text", json.dumps(body), self.block)
        self.browser.click("button.execute", self.block)
        response = ".live-responses-table tbody tr"
        status = self.browser.find(f"{response} .response-col_status", self.block)
        text = self.browser.find(f"{response} .highlight-code code, {response} pre", self.block)
        return int(status.text.split()[0]), json.loads(text.get_property("textContent"))


def test_swagger_ui_creates_and_reads_a_task(browser):
    browser.open("/docs")
    browser.find("#operations-tasks-createTask")
    browser.take_screenshot("docs")

    credentials = {"username": "ada", "password": PASSWORD}
    status, login = Operation(browser, "auth", "logIn").execute(credentials)
    assert (status, login["user"]["username"]) == (200, "ada")

    browser.click("button.authorize")
    browser.write("input[aria-label='auth-bearer-value']", login["access_token"])
    browser.click(".auth-container button.authorize")
    browser.click(".auth-container button.btn-done")

    status, task = Operation(browser, "tasks", "createTask").execute({"title": "Buy milk"})
    assert (status, task["title"]) == (201, "Buy milk")

    # Swagger UI keeps the token across page loads.
    browser.open("/docs")
    task_id = str(task["id"])
    status, read = Operation(browser, "tasks", "readTask").execute(task_id=task_id)
    assert (status, read) == (200, task)
    browser.assert_no_errors()


def test_redoc_shows_every_operation(browser):
    browser.open("/redoc")
    for summary in ("Register a user", "Create a task", "Delete a task"):
        WebDriverWait(browser.driver, 20).until(
            lambda driver, summary=summary: summary in driver.page_source
        )
    browser.take_screenshot("redoc")
    browser.assert_no_errors()


@pytest.mark.parametrize("path", ["/", "/problems/stale_version"])
def test_page_has_no_errors(browser, path):
    browser.open(path)
    assert browser.find("h1").text
    browser.assert_no_errors()
