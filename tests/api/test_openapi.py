"""The OpenAPI document is valid, complete and committed."""

import re
from typing import Any

import jsonschema_rs
import orjson
import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from app.api.openapi import PROBLEM_JSON, build
from app.api.operation_meta import annotate
from app.cli.maintenance import DOCUMENT
from app.docs_site.spec import to_yaml
from app.errors import Conflict, all_problems
from app.rate_limiter import HEADERS
from tests.problems import assert_problem
from tests.security.calls import PUBLIC

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="module")
def document(migrated_app) -> dict[str, Any]:
    return build(migrated_app)


@pytest.fixture(scope="module")
def operations(document) -> dict[str, dict[str, Any]]:
    """Every operation by its id, with its method and path."""
    return {
        operation["operationId"]: operation | {"method": method, "path": path}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def is_public(operation) -> bool:
    return f"{operation['method'].upper()} {operation['path']}" in PUBLIC


def is_list(document, operation) -> bool:
    """Return whether the operation responds with a page."""
    content = responses_of(document, operation).get(200, {}).get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    return schema.get("$ref", "").endswith("Page")


def names(operation: dict[str, Any], place: str) -> set[str]:
    """Return the names of the parameters in ``place``; shared ones are headers."""
    own = {one["name"] for one in operation["parameters"] if one.get("in") == place}
    shared = {one["$ref"].rpartition("/")[2] for one in operation["parameters"] if "$ref" in one}
    return own | shared if place == "header" else own


def responses_of(document, operation) -> dict[int, dict[str, Any]]:
    """Return the responses of an operation, with references resolved."""
    components = document["components"]["responses"]
    return {
        int(status): components[response["$ref"].rpartition("/")[2]]
        if "$ref" in response
        else response
        for status, response in operation["responses"].items()
    }


def validator(document, schema) -> Any:
    whole = {**schema, "components": document["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def test_it_is_a_valid_openapi_3_1_document(document):
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_committed_document_is_current(document):
    assert DOCUMENT.read_text() == to_yaml(document), "refresh it with: flask openapi write"
    assert yaml.safe_load(DOCUMENT.read_text()) == document


def test_operation_ids_are_unique_names(document, operations):
    assert len(operations) == sum(len(METHODS & set(path)) for path in document["paths"].values())
    for name, operation in operations.items():
        path = f"{operation['method'].upper()} {operation['path']}"
        assert re.fullmatch(r"[a-z]+([A-Z][a-z]*)*", name), f"{path}: rename its function: {name}"


def test_every_route_and_method_is_documented(app, document):
    routed = {
        (re.sub(r"<(\w+:)?(\w+)>", r"{\2}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if not rule.endpoint.startswith("site.")
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    documented = {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }
    documented -= {(path, "parameters") for path in document["paths"]}
    assert sorted(routed - documented) == [], "give these routes a blueprint of app.api.blueprint"
    assert sorted(documented - routed) == []


def test_security_of_each_operation(document, operations):
    for name, operation in operations.items():
        schemes = [scheme for one in operation["security"] for scheme in one]
        responses = responses_of(document, operation)
        if is_public(operation):
            assert schemes == [], f"{name}: remove it from PUBLIC in tests/security/calls.py"
        else:
            assert schemes, f"{name}: protect it, or add it to PUBLIC in tests/security/calls.py"
            codes = responses[401]["content"][PROBLEM_JSON]["examples"]
            assert {"authentication_required", "token_expired"} <= set(codes), name
            assert "WWW-Authenticate" in responses[401]["headers"], name
    by_name = {name: operation["security"] for name, operation in operations.items()}
    assert by_name["refresh"] == [{"refreshToken": []}]
    assert by_name["logOut"] == [{"accessToken": []}, {"refreshToken": []}]
    assert by_name["createTask"] == [{"accessToken": []}, {"personalToken": []}]
    assert by_name["listUsers"] == [{"accessToken": []}]
    schemes = {"accessToken", "personalToken", "refreshToken"}
    assert set(document["components"]["securitySchemes"]) == schemes


@pytest.mark.parametrize(
    ("header", "some", "methods", "status"),
    [
        ("Idempotency-Key", {"createTask", "runTaskBatch", "createExport"}, {"post"}, 409),
        ("If-Match", {"replaceTask", "deleteTask"}, {"put", "patch", "delete"}, 412),
        ("If-None-Match", {"readTask", "listUsers", "readDocument"}, {"get"}, 304),
    ],
)
def test_request_headers_are_documented(document, operations, header, some, methods, status):
    having = {
        name for name, operation in operations.items() if header in names(operation, "header")
    }
    assert some <= having
    for name in having:
        assert operations[name]["method"] in methods, name
    for name, operation in operations.items():
        assert status in responses_of(document, operation) or name not in having, name


def test_every_operation_has_a_request_id(operations):
    for name, operation in operations.items():
        assert "X-Request-ID" in names(operation, "header"), name


def test_every_list_has_an_etag_and_pages(document, operations):
    lists = {name for name, operation in operations.items() if is_list(document, operation)}
    assert {"listTasks", "listUsers", "listJobs"} <= lists
    assert lists == {name for name in operations if name.startswith("list")}
    for name in lists:
        assert "If-None-Match" in names(operations[name], "header"), name
        assert {"limit", "cursor"} <= names(operations[name], "query"), name


def test_response_headers_are_documented(document, operations):
    def headers(name: str, status: int) -> set[str]:
        documented = set(responses_of(document, operations[name])[status]["headers"])
        assert documented >= {*HEADERS}
        return documented - {*HEADERS}

    replayed = {"Idempotent-Replayed"}
    assert headers("createTask", 201) == {"X-Request-ID", "Location", "ETag"} | replayed
    assert headers("createExport", 202) == {"X-Request-ID", "Location"} | replayed
    assert headers("createTask", 422) == {"X-Request-ID"} | replayed
    assert headers("createTask", 401) == {"X-Request-ID", "WWW-Authenticate"}
    assert headers("listTasks", 200) == {"X-Request-ID", "ETag", "Link"}
    assert headers("updateTask", 412) == {"X-Request-ID", "ETag"}
    assert headers("deleteTask", 204) == {"X-Request-ID"}
    assert headers("exportData", 200) == {"X-Request-ID", "Content-Disposition"}
    assert headers("readJobResult", 200) == {"X-Request-ID", "Content-Disposition"}
    assert headers("readTask", 403) == {"X-Request-ID", "WWW-Authenticate"}
    assert headers("readUser", 403) == {"X-Request-ID"}
    for status in (429, 503):
        assert headers("register", status) == {"X-Request-ID", "Retry-After"}


def test_media_types_of_request_bodies(operations):
    for operation in operations.values():
        if "requestBody" in operation:
            types = {"application/json"}
            if operation["method"] == "patch":
                types.add("application/merge-patch+json")
            if operation["operationId"] == "createImport":
                types |= {"text/csv", "text/calendar", "multipart/form-data"}
            assert set(operation["requestBody"]["content"]) == types


def test_every_error_is_a_problem_with_examples(document, operations):
    examples = document["components"]["examples"]
    code_status = {problem.code: int(problem.status) for problem in all_problems()}
    for name, operation in operations.items():
        errors = {s: a for s, a in responses_of(document, operation).items() if s >= 400}
        assert {406, 422, 429, 500, 503} <= set(errors), name
        for status, response in errors.items():
            [(media_type, content)] = response["content"].items()
            assert media_type == PROBLEM_JSON
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            assert content["examples"]
            for code in content["examples"]:
                assert examples[code]["value"]["code"] == code
                assert code_status[code] == examples[code]["value"]["status"] == status


def test_statuses_of_operations(document, operations):
    statuses = {
        name: set(responses_of(document, operation)) for name, operation in operations.items()
    }
    assert statuses["readTask"] == {200, 304, 400, 401, 403, 404, 406, 422, 429, 500, 503}
    assert statuses["deleteTask"] == {204, 400, 401, 403, 404, 406, 412, 422, 429, 500, 503}
    body = {400, 401, 403, 406, 409, 413, 415, 422, 429, 500, 503}
    assert statuses["createTask"] == {201} | body
    assert statuses["updateTask"] == {200, 404, 412} | body


def test_examples_match_their_schemas(document, operations):
    for name, operation in operations.items():
        responses = responses_of(document, operation)
        bodies = [operation.get("requestBody", {}), *(responses[s] for s in responses if s < 300)]
        for content in (one for body in bodies for one in body.get("content", {}).values()):
            assert content["example"], name
            validator(document, content["schema"]).validate(content["example"])
    problem = validator(document, {"$ref": "#/components/schemas/Problem"})
    for example in document["components"]["examples"].values():
        problem.validate(example["value"])


def test_routes_accept_the_example_bodies(client, accounts, operations):
    def example(name: str) -> dict[str, Any]:
        content: dict[str, Any] = operations[name]["requestBody"]["content"]["application/json"]
        return content["example"]

    assert client.post("/api/v1/auth/register", json=example("register")).status_code == 201
    assert client.post("/api/v1/auth/login", json=example("logIn")).status_code == 200
    ada = accounts.log_in("ada")
    assert ada.post("/auth/reauthenticate", example("reauthenticate")).status_code == 200
    assert ada.patch("/auth/me", example("updateAccount")).status_code == 200
    task = ada.post("/tasks", example("createTask"))
    assert task.status_code == 201
    path = f"/tasks/{task.json['id']}"
    assert ada.put(path, example("replaceTask")).status_code == 200
    assert ada.patch(path, example("updateTask")).status_code == 200
    assert ada.put(f"{path}/status", example("updateStatus")).status_code == 200
    done = ada.get(path).json
    assert done == {**done, **example("updateTask"), **example("updateStatus")}
    assert ada.post("/tasks/batch", example("runTaskBatch")).status_code == 200
    assert ada.post("/exports", example("createExport")).status_code == 202
    for media_type, content in operations["createImport"]["requestBody"]["content"].items():
        if media_type != "multipart/form-data":
            text = content["example"]
            body = text if isinstance(text, str) else orjson.dumps(text)
            response = ada.post("/imports", data=body, content_type=media_type)
            assert response.status_code == 202
    assert ada.post("/auth/tokens", example("createPersonalToken")).status_code == 201
    assert ada.put("/auth/password", example("changePassword")).status_code == 204


def test_schemas_describe_fields(document):
    schemas = document["components"]["schemas"]
    task = schemas["Task"]["properties"]
    assert schemas["Task"]["required"] == list(task)
    assert task["due_at"] == {"type": ["string", "null"], "format": "date-time"}
    assert task["due_date"] == {"type": ["string", "null"], "format": "date"}
    assert task["created_at"] == {"type": "string", "format": "date-time"}
    assert task["status"]["enum"] == ["pending", "in_progress", "completed", "cancelled"]
    assert task["url"]["format"] == "uri"
    create = schemas["CreateTask"]
    assert create["required"] == ["title"]
    assert create["additionalProperties"] is False
    assert create["properties"]["priority"]["default"] == "none"
    assert create["properties"]["description"]["type"] == ["string", "null"]
    change = schemas["UpdateTask"]
    assert "required" not in change
    assert not any("default" in field for field in change["properties"].values())


def test_parameters_describe_values(operations):
    parameters = {
        one["name"]: one for one in operations["listTasks"]["parameters"] if "name" in one
    }
    assert parameters["status"]["schema"]["type"] == "array"
    assert (parameters["status"]["style"], parameters["status"]["explode"]) == ("form", False)
    assert parameters["cursor"]["schema"]["type"] == "string"
    assert "default" not in parameters["cursor"]["schema"]
    limit = {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}
    assert parameters["limit"]["schema"] == limit
    assert {"due", "-due"} <= set(parameters["sort"]["schema"]["enum"])


def test_summaries_are_docstrings(document, operations):
    create = operations["createTask"]
    assert create["summary"] == "Create a task"
    assert create["description"].startswith("Create a task.\n\nA personal access token needs")
    assert create["tags"] == ["tasks"]
    assert all(tag["description"] for tag in document["tags"])
    text = orjson.dumps(document).decode()
    assert "``" not in text


class TestServed:
    """The document as served, with PUBLIC_URL as its server."""

    @pytest.fixture
    def served(self, document) -> dict[str, Any]:
        return document | {"servers": [{"url": "http://127.0.0.1:5000"}]}

    def test_as_json(self, client, served):
        response = client.get("/api/v1/openapi.json")
        assert (response.status_code, response.content_type) == (200, "application/json")
        assert response.json == served

    def test_as_yaml(self, client, served):
        response = client.get("/api/v1/openapi.yaml")
        assert (response.status_code, response.content_type) == (200, "application/yaml")
        assert yaml.safe_load(response.text) == served

    @pytest.mark.parametrize("path", ["/api/v1/openapi.json", "/api/v1/openapi.yaml"])
    def test_304_for_a_current_etag(self, client, path):
        first = client.get(path)
        assert first.headers["Cache-Control"] == "public, no-cache"
        again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.data) == (304, b"")
        assert again.headers["ETag"] == first.headers["ETag"]

    @pytest.mark.parametrize(
        ("path", "accept", "status"),
        [
            ("/api/v1/openapi.json", "application/yaml", 406),
            ("/api/v1/openapi.yaml", "application/yaml", 200),
            ("/api/v1/openapi.yaml", "application/json", 406),
            ("/api/v1/openapi.yaml", "*/*", 200),
        ],
    )
    def test_accept_header(self, client, path, accept, status):
        response = client.get(path, headers={"Accept": accept})
        if status == 406:
            assert_problem(response, 406, "not_acceptable")
        else:
            assert (response.status_code, response.data) == (200, client.get(path).data)


def test_annotations_accumulate():
    def view() -> None:
        pass

    assert annotate(view, Conflict, accepts_idempotency_key=True) is view
    again = annotate(view, *all_problems()[:1])
    assert vars(again)["_operation_meta"].problems == (Conflict, all_problems()[0])
    assert vars(again)["_operation_meta"].accepts_idempotency_key
