"""What figures depend on, for whoever reads them."""

import json
import os
import platform
from datetime import UTC, datetime
from typing import Any

from server import ROOT
from servers import THREADS, WORKERS

POSTGRES = "postgresql://postgres@127.0.0.1/postgres"
NAMED = (
    "flask",
    "sqlalchemy",
    "psycopg",
    "gunicorn",
    "fastapi",
    "sqlmodel",
    "uvicorn",
    "django",
    "djangorestframework",
)


def about(how: str) -> dict[str, Any]:
    """Return what figures that were measured just now depend on, and how they were measured."""
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    packages = {**lock["benchmarks"], **lock["default"]}
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": os.cpu_count(),
        "load": os.getloadavg()[2],
        "python": platform.python_version(),
        "workers": WORKERS,
        "threads": THREADS,
        "how": how,
        "packages": {name: packages[name]["version"].lstrip("=") for name in NAMED},
    }
