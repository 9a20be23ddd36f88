"""The API and its pages under the path of PUBLIC_URL."""

import json
import os
import shutil
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from app import create_app
from tests.deploy.gateway import deployed, needs_nginx
from tests.deploy.test_nginx import create_user
from tests.live.test_pages_in_browser import FLAGS

PREFIX = "/todo"
pytestmark = [
    needs_nginx,
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver"))
        and "NO_SKIPS" not in os.environ,
        reason="needs Chromium and its driver",
    ),
]


@pytest.fixture(scope="module")
def gateway():
    with deployed(prefix=PREFIX) as deployment:
        yield deployment.gateway


@pytest.fixture
def driver(gateway, tmp_path):
    options = ChromeOptions()
    for flag in (*FLAGS, f"--user-data-dir={tmp_path}", "--ignore-certificate-errors"):
        options.add_argument(flag)
    options.binary_location = str(shutil.which("chromium"))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield browser
    browser.quit()


@pytest.mark.parametrize(
    ("page", "element"),
    [
        ("/", "h1"),
        ("/problems/stale_version", "h1"),
        ("/docs", "#operations-tasks-createTask"),
        ("/redoc", "[data-section-id*='createTask']"),
    ],
)
def test_pages_load_everything_under_the_path(gateway, driver, page, element):
    driver.get(f"{gateway.address}{PREFIX}{page}")
    WebDriverWait(driver, 30).until(lambda _: driver.find_elements(By.CSS_SELECTOR, element))
    links = [link.get_attribute("href") for link in driver.find_elements(By.TAG_NAME, "a")]
    entries = [json.loads(each["message"])["message"] for each in driver.get_log("performance")]
    responses = {
        entry["params"]["response"]["url"]: entry["params"]["response"]["status"]
        for entry in entries
        if entry["method"] == "Network.responseReceived"
    }
    loaded = {url: status for url, status in responses.items() if url.startswith(gateway.address)}
    assert len(loaded) > 2
    assert set(loaded.values()) == {200}
    ours = [url for url in [*links, *loaded] if url and url.startswith(gateway.address)]
    assert all(urlsplit(url).path.startswith(f"{PREFIX}/") for url in ours)
    assert [entry for entry in driver.get_log("browser") if entry["level"] != "INFO"] == []


def test_links_of_the_api_have_the_path(gateway):
    base = f"{gateway.address}{PREFIX}"
    tokens = create_user(gateway, PREFIX)
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    call = gateway.call
    for _ in range(2):
        created = call("POST", f"{PREFIX}/api/v1/tasks", {"title": "a"}, headers)
        assert created.headers["Location"] == created.json["url"]
        assert created.json["url"].startswith(f"{base}/api/v1/tasks/")
    assert call("GET", urlsplit(created.json["url"]).path, headers=headers).json == created.json
    page = call("GET", f"{PREFIX}/api/v1/tasks?limit=1", headers=headers)
    assert page.headers["Link"].startswith(f"<{base}/api/v1/tasks?limit=1&cursor=")
    problem = call("GET", f"{PREFIX}/api/v1/tasks/999", headers=headers).json
    assert problem["type"] == f"{base}/problems/not_found"
    assert problem["instance"] == f"{PREFIX}/api/v1/tasks/999"
    index = call("GET", f"{PREFIX}/api/v1").json
    assert all(link.startswith(f"{base}/") for link in index.values())
    document = call("GET", f"{PREFIX}/api/v1/openapi.json").json
    assert document["servers"] == [{"url": base}]


def test_server_accepts_the_path_without_a_proxy(app, settings):
    client = create_app(settings | {"PUBLIC_URL": f"https://example.org{PREFIX}"}).test_client()
    for path in ("/docs", f"{PREFIX}/docs"):
        response = client.get(path)
        assert response.status_code == 200
        assert f'href="{PREFIX}/assets/' in response.text
    assert client.get(f"{PREFIX}").status_code == 200
    for path, instance in (
        ("/todos/docs", f"{PREFIX}/todos/docs"),
        (f"{PREFIX}{PREFIX}/docs", f"{PREFIX}{PREFIX}/docs"),
    ):
        response = client.get(path)
        assert (response.status_code, response.json["instance"]) == (404, instance)
