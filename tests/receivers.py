"""Where spans and reports of errors are sent, of the test's own."""

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span:
    """A span as it came."""

    def __init__(self, service: str, span: Any) -> None:
        self.service, self.name = service, span.name
        self.trace, self.id, self.parent = (
            part.hex() for part in (span.trace_id, span.span_id, span.parent_span_id)
        )
        self.failed = span.status.code == 2
        self.told = {
            pair.key: getattr(pair.value, pair.value.WhichOneof("value"))
            for pair in span.attributes
        }


class Receiver:
    """Takes whatever it is sent, as a collector of OpenTelemetry and as Sentry."""

    def __init__(self, port: int) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "SENTRY_DSN": f"http://key@127.0.0.1:{port}/1",
        }

    def spans(self) -> list[Span]:
        return [
            Span(_service(resource), span)
            for path, _, body in self.sent
            if path == "/v1/traces"
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def reports(self) -> list[dict[str, Any]]:
        """Return the events of Sentry's envelopes: a line of headers, then each item's and it."""
        envelopes = [body.splitlines() for path, _, body in self.sent if "/envelope" in path]
        kinds = [[json.loads(line)["type"] for line in lines[1::2]] for lines in envelopes]
        assert all(kind == ["event"] for kind in kinds)
        return [json.loads(lines[2]) for lines in envelopes]

    def everything(self) -> str:
        """Return all that was sent, with where to and by which headers."""
        return "".join(f"{path}{headers}{body!r}" for path, headers, body in self.sent)


def _service(resource: Any) -> str:
    told = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
    return told["service.name"]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Content-Encoding"] == "gzip":
                body = gzip.decompress(body)
            receiver.sent.append((self.path, str(self.headers), body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = Receiver(server.server_port)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield receiver
        server.shutdown()
