"""An HTTP server that receives OpenTelemetry spans and Sentry reports."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span:
    """A received span."""

    def __init__(self, service: str, span: Any) -> None:
        self.service, self.name = service, span.name
        self.trace, self.id, self.parent = (
            part.hex() for part in (span.trace_id, span.span_id, span.parent_span_id)
        )
        self.failed = span.status.code == 2
        self.attributes = {
            pair.key: getattr(pair.value, pair.value.WhichOneof("value"))
            for pair in span.attributes
        }


class Receiver:
    """Stores requests, in place of an OpenTelemetry collector and Sentry."""

    def __init__(self, port: int) -> None:
        self.requests: list[tuple[str, str, bytes]] = []
        self.environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "SENTRY_DSN": f"http://key@127.0.0.1:{port}/1",
        }

    def spans(self) -> list[Span]:
        return [
            Span(_service(resource), span)
            for path, _, body in self.requests
            if path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def reports(self) -> list[dict[str, Any]]:
        """Return the events in Sentry's envelopes, which are JSON lines: headers, type, body."""
        envelopes = [body.splitlines() for path, _, body in self.requests if "/envelope" in path]
        types = [[json.loads(line)["type"] for line in lines[1::2]] for lines in envelopes]
        assert all(names == ["event"] for names in types)
        return [json.loads(lines[2]) for lines in envelopes]

    def everything(self) -> str:
        """Return paths, headers and bodies of all requests as text."""
        return "".join(f"{path}{headers}{body!r}" for path, headers, body in self.requests)


def _service(resource: Any) -> str:
    attributes = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    return attributes["service.name"]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            receiver.requests.append((self.path, str(self.headers), body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Disable logging."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_port)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield receiver
        server.shutdown()
