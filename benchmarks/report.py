"""Results as Markdown tables, JSON and plots."""

import argparse
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from typing import Any

from benchmarks import peer_environment, targets
from benchmarks.server import ROOT

DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
PACKAGES = (
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
Sample = Mapping[str, Any]
Results = Mapping[str, Any]


def about(method: str) -> dict[str, Any]:
    """Return what the figures of a run depend on."""
    lock = json.loads((ROOT / "Pipfile.lock").read_text())
    locked = {**lock["benchmarks"], **lock["default"]}
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "processors": os.cpu_count(),
        "load": os.getloadavg()[2],
        "python": platform.python_version(),
        "workers": targets.WORKERS,
        "threads": targets.THREADS,
        "method": method,
        "packages": {name: locked[name]["version"].lstrip("=") for name in PACKAGES},
    }


def progress(sample: Sample) -> str:
    """Return a line about one measurement."""
    return (
        f"{sample['database']:10} {sample['operation']:15} {sample['round'] + 1}"
        f" {sample['server']:16} {sample['rps']:7.0f}/s {sample['cpu_us']:7.0f} us"
        f" p99 {sample['p99_ms']:6.1f} ms  errors {sum(sample['errors'].values())}"
    )


def bench_tables(results: Results) -> str:
    """Return the tables of ``bench.py`` for each database."""
    parts = [_about(results["about"])]
    for database, samples in _group(results["results"], "database").items():
        title = DATABASES[database]
        for heading, cell in (
            ("requests per second, and ours divided by it", _rate_cell),
            ("latency in milliseconds, median / 99th percentile", _latency_cell),
            ("CPU microseconds per request", _cpu_cell),
        ):
            parts.append(f"### {title}: {heading}\n\n{_operation_table(samples, cell)}")
    errors = sum(sum(sample["errors"].values()) for sample in results["results"])
    parts.append(f"Failed requests in all measurements: {errors}.")
    return "\n\n".join(parts)


def _operation_table(samples: Sequence[Sample], cell: Any) -> str:
    """Return a table with a row for each operation and a column for each server."""
    by_server = _group(samples, "server")
    servers = sorted(by_server, key=lambda name: name != "ours")
    rows = []
    for operation, group in _group(samples, "operation").items():
        by_name = _group(group, "server")
        ours = by_name.get("ours", [])
        cells = [cell(by_name[name], ours) if name in by_name else "" for name in servers]
        rows.append([operation, *cells])
    return table(["operation", *servers], rows)


def _rate_cell(samples: Sequence[Sample], ours: Sequence[Sample]) -> str:
    text = f"{_median(samples, 'rps'):.0f}"
    if not ours or samples[0]["server"] == "ours":
        return text
    # Of each round its own ratio: the speed of the machine changes between rounds.
    rates = {sample["round"]: sample["rps"] for sample in ours}
    ratio = median(rates[sample["round"]] / sample["rps"] for sample in samples)
    return f"{text} ({ratio:.2f} x)"


def _latency_cell(samples: Sequence[Sample], _ours: Sequence[Sample]) -> str:
    return f"{_median(samples, 'p50_ms'):.1f} / {_median(samples, 'p99_ms'):.1f}"


def _cpu_cell(samples: Sequence[Sample], _ours: Sequence[Sample]) -> str:
    return f"{_median(samples, 'cpu_us'):.0f}"


def scale_tables(results: Results) -> str:
    """Return the tables of ``scale.py`` for each database."""
    parts = [_about(results["about"])]
    for database, samples in _group(results["results"], "database").items():
        sizes = sorted({sample["tasks"] for sample in samples})
        memory = {
            sample["tasks"]: sample
            for sample in results["memory"]
            if sample["database"] == database
        }
        rows = [
            [read, *(_time_cell(group, size, sizes[0]) for size in sizes)]
            for read, group in _group(samples, "read").items()
        ]
        rows += [
            [f"memory {when}", *(f"{memory[size][when] / 2**20:.0f} MiB" for size in sizes)]
            for when in ("before", "after")
        ]
        heads = ["page", *(f"{size:,} tasks" for size in sizes)]
        parts.append(f"### {DATABASES[database]}: milliseconds\n\n{table(heads, rows)}")
    return "\n\n".join(parts)


def _time_cell(samples: Sequence[Sample], size: int, smallest: int) -> str:
    """Return the median, and how many times that of the smallest table it is."""
    times = {(sample["tasks"], sample["round"]): sample["ms"] for sample in samples}
    own = {number: ms for (tasks, number), ms in times.items() if tasks == size}
    if not own:
        return ""
    text = f"{median(own.values()):.2f}"
    ratios = [
        ms / times[smallest, number] for number, ms in own.items() if (smallest, number) in times
    ]
    return f"{text} ({median(ratios):.2f} x)" if ratios and size != smallest else text


def _about(about: Results) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"Measured {about['at']} on {about['processors']} processors ({about['machine']}), load"
        f" {about['load']:.2f}; Python {about['python']}; {about['workers']} workers of"
        f" {about['threads']} threads; {about['method']}. {packages}."
    )


def _median(samples: Iterable[Sample], figure: str) -> float:
    return float(median(sample[figure] for sample in samples))


def _group(samples: Iterable[Sample], key: str) -> dict[str, list[Sample]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample[key], []).append(sample)
    return groups


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are aligned right."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that bench.py and scale.py share."""
    add = parser.add_argument
    add("--database", choices=(*DATABASES, "both"), default="both")
    add("--postgresql", default=targets.POSTGRESQL,
        help="the server to create databases on (%(default)s)")  # fmt: skip
    add("--json", type=Path, help="file to write all samples to")
    add("--plots", type=Path, help="folder to draw plots into")
    add("--from", type=Path, dest="source", help="file written by --json, instead of measuring")
    add("--report", type=Path, help="document whose tables to replace")


def databases(arguments: argparse.Namespace) -> Iterator[tuple[str, str | None]]:
    """Yield the name of each chosen database, and its server."""
    for name in DATABASES if arguments.database == "both" else [arguments.database]:
        yield name, arguments.postgresql if name == "postgresql" else None


def publish(kind: str, results: Results, text: str, arguments: argparse.Namespace) -> None:
    """Print the tables, and write what the options ask for."""
    print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")
    if arguments.plots:
        draw(kind, results, arguments.plots)
    if arguments.report and arguments.plots:
        folder = Path(os.path.relpath(arguments.plots, arguments.report.parent))
        for database in _group(results["results"], "database"):
            image = folder / f"{kind}-{database}.svg"
            text += f"\n\n![{DATABASES[database]}]({image})"
    if arguments.report:
        replace_section(arguments.report, kind, text)


def replace_section(document: Path, name: str, text: str) -> None:
    """Replace the text between the two marks of a section."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    section = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    before = document.read_text()
    if not section.search(before):
        raise SystemExit(f"{document} lacks the marks {begin} and {end}.")
    document.write_text(section.sub(lambda _: f"\n{text}\n\n", before))


def draw(kind: str, results: Results, folder: Path) -> None:
    """Draw plots into a folder, in the environment of the peers, which has matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(results, file)
        file.flush()
        arguments = ["-m", "benchmarks.plots", kind, file.name, str(folder.resolve())]
        subprocess.run([peer_environment.python(), *arguments], cwd=ROOT, check=True)
