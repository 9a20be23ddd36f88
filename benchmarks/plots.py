"""Plots of results: ``python -m benchmarks.plots bench|scale RESULTS FOLDER``, with matplotlib."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt  # the backend must be chosen first

# Without it, element ids differ in each run.
mpl.rcParams["svg.hashsalt"] = "task-api"
DATABASES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
Sample = Mapping[str, Any]


def unique(samples: Sequence[Sample], key: str) -> list[Any]:
    """Return the values of a key in the order of their first appearance."""
    return list(dict.fromkeys(sample[key] for sample in samples))


def bench(samples: Sequence[Sample], title: str) -> None:
    """Draw the requests per second of each operation and server as bars."""
    operations = unique(samples, "operation")
    servers = sorted(unique(samples, "server"), key=lambda name: name != "ours")
    width = 0.8 / len(servers)
    plt.figure(figsize=(11, 4.5))
    for number, server in enumerate(servers):
        heights = []
        for operation in operations:
            rates = [
                sample["rps"]
                for sample in samples
                if (sample["server"], sample["operation"]) == (server, operation)
            ]
            heights.append(median(rates) if rates else 0)
        left = number * width - 0.4 + width / 2
        plt.bar([left + x for x in range(len(operations))], heights, width, label=server)
    plt.yscale("log")
    plt.xticks(range(len(operations)), operations)
    plt.title(f"{title}: requests per second")
    plt.legend()
    plt.grid(axis="y", alpha=0.3)


def scale(samples: Sequence[Sample], title: str) -> None:
    """Draw the time of each read against the size of the table."""
    plt.figure(figsize=(11, 6.5))
    reads = unique(samples, "read")
    colors = mpl.colormaps["turbo"].resampled(len(reads)).colors
    for read, color in zip(reads, colors, strict=True):
        own = [sample for sample in samples if sample["read"] == read]
        sizes = sorted(unique(own, "tasks"))
        times = [
            median(sample["ms"] for sample in own if sample["tasks"] == size) for size in sizes
        ]
        plt.plot(sizes, times, marker="o", color=color, label=read)
    plt.xscale("log")
    plt.ylim(bottom=0)
    plt.xlabel("tasks of one user")
    plt.title(f"{title}: milliseconds per request")
    plt.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
    plt.grid(alpha=0.3)


def main() -> None:
    """Draw one plot for each database."""
    kind, results, folder = sys.argv[1:]
    samples = json.loads(Path(results).read_text())["results"]
    for database in unique(samples, "database"):
        own = [sample for sample in samples if sample["database"] == database]
        {"bench": bench, "scale": scale}[kind](own, DATABASES[database])
        plt.tight_layout()
        plt.savefig(Path(folder) / f"{kind}-{database}.svg", metadata={"Date": None})
        plt.close()


if __name__ == "__main__":
    main()
