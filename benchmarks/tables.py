"""What was measured, as tables of Markdown, and as plots by the peers' environment."""

import json
import re
import subprocess
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import NamedTemporaryFile
from typing import Any

import environment

Sample = Mapping[str, Any]
Told = Mapping[str, Any]


def line(sample: Sample) -> str:
    """Return one measurement for whoever watches."""
    return (
        f"{sample['database']:10} {sample['operation']:13} {sample['round'] + 1}"
        f" {sample['server']:16} {sample['rps']:7.0f}/s {sample['cpu_us']:7.0f} us"
        f" p99 {sample['p99_ms']:6.1f} ms  errors {sum(sample['errors'].values())}"
    )


def of_bench(told: Told) -> str:
    """Return a table for each database and operation, and what they depend on."""
    parts = [_about(told["about"])]
    for database, samples in _grouped(told["results"], "database"):
        for operation, of_one in _grouped(samples, "operation"):
            rows = [_row(name, own, of_one) for name, own in _grouped(of_one, "server")]
            parts.append(f"### {_title(database)}: {operation}\n\n{table(HEADS, rows)}")
    return "\n\n".join(parts)


def of_scale(told: Told) -> str:
    """Return a table for each database: milliseconds, and how many times those of the least."""
    parts = [_about(told["about"])]
    for database, samples in _grouped(told["results"], "database"):
        sizes = sorted({sample["tasks"] for sample in samples})
        heads = ["page", *(f"{size:,} tasks" for size in sizes)]
        rows = [
            [read, *(_against_size(own, size, sizes[0]) for size in sizes)]
            for read, own in _grouped(samples, "read")
        ]
        rows += [
            [f"memory, {when}", *(_memory(told, database, size, when) for size in sizes)]
            for when in ("before", "after")
        ]
        parts.append(f"### {_title(database)}: milliseconds\n\n{table(heads, rows)}")
    return "\n\n".join(parts)


def _against_size(samples: Sequence[Sample], size: int, least: int) -> str:
    times = {(one["tasks"], one["round"]): one["ms"] for one in samples}
    own = {number: ms for (tasks, number), ms in times.items() if tasks == size}
    if not own:
        return ""
    told = f"{median(own.values()):.2f}"
    if size == least:
        return told
    ratios = [ms / times[least, number] for number, ms in own.items() if (least, number) in times]
    return f"{told} ({median(ratios):.2f} x)" if ratios else told


def _memory(told: Told, database: str, size: int, when: str) -> str:
    [found] = [
        one[when] for one in told["memory"] if (one["database"], one["tasks"]) == (database, size)
    ]
    return f"{found / 2**20:.0f} MiB"


HEADS = (
    "server",
    "CPU µs a request",
    "requests a second",
    "p50 ms",
    "p99 ms",
    "errors",
    "ours, CPU",
    "ours, requests",
)


def _title(database: str) -> str:
    return {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[database]


def _about(about: Told) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in about["packages"].items())
    return (
        f"Measured {about['at']} on {about['processors']} processors ({about['machine']}), load"
        f" {about['load']:.2f}; Python {about['python']};"
        f" {about['workers']} workers of {about['threads']} threads; {about['how']}. {packages}."
    )


def _row(name: str, own: Sequence[Sample], all_servers: Sequence[Sample]) -> list[str]:
    errors = sum(sum(sample["errors"].values()) for sample in own)
    return [
        name,
        f"{_median(own, 'cpu_us'):.0f}",
        f"{_median(own, 'rps'):.0f}",
        f"{_median(own, 'p50_ms'):.1f}",
        f"{_median(own, 'p99_ms'):.1f}",
        str(errors),
        _ratio("cpu_us", own, all_servers),
        _ratio("rps", own, all_servers),
    ]


def _ratio(figure: str, own: Sequence[Sample], all_servers: Sequence[Sample]) -> str:
    """Return how many times this server's figure ours is: the median over the rounds."""
    ours = {sample["round"]: sample for sample in all_servers if sample["server"] == "ours"}
    found = [ours[one["round"]][figure] / one[figure] for one in own if one["round"] in ours]
    return f"{median(found):.2f} x" if found else ""


def _median(samples: Iterable[Sample], figure: str) -> float:
    return float(median(sample[figure] for sample in samples))


def _grouped(samples: Iterable[Sample], key: str) -> list[tuple[str, list[Sample]]]:
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample[key], []).append(sample)
    if key == "server":  # whoever came first in the first round, ours stands first
        return sorted(groups.items(), key=lambda group: group[0] != "ours")
    return list(groups.items())


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; all columns but the first hold figures."""
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def add_options(parser: ArgumentParser) -> None:
    """Declare the ways in which results may be told."""
    add = parser.add_argument
    add("--json", type=Path, help="where to write all samples to")
    add("--plots", type=Path, help="the folder to draw plots into")
    add("--from", type=Path, dest="source", help="a file of --json, instead of measuring")
    add("--report", type=Path, help="the document whose tables to replace")


def tell(kind: str, told: Told, text: str, asked: Namespace) -> None:
    """Tell results in every way that is asked for."""
    print(text)
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")
    if asked.plots:
        draw(kind, told, asked.plots)
    if asked.report:
        replace_in(asked.report, kind, text)


def replace_in(document: Path, name: str, text: str) -> None:
    """Put a text between the two marks of a name."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    marked = re.compile(f"(?<={re.escape(begin)}\n).*?(?={re.escape(end)})", re.DOTALL)
    before = document.read_text()
    if not marked.search(before):
        raise SystemExit(f"{document} has no marks {begin} and {end}.")
    document.write_text(marked.sub(lambda _: f"\n{text}\n\n", before))


def draw(kind: str, told: Told, folder: Path) -> None:
    """Draw plots of what was measured into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).resolve().parent / "plots.py"
    with NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(told, file)
        file.flush()
        subprocess.run([environment.python(), script, kind, file.name, folder], check=True)
