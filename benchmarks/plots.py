"""Draw what was measured, in the peers' environment: plots.py bench|scale RESULTS FOLDER."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt  # what draws is chosen first

mpl.rcParams["svg.hashsalt"] = "task-api"
TITLES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}
FIGURES = (("rps", "requests a second"), ("cpu_us", "CPU µs a request"))
Sample = Mapping[str, Any]


def unique(samples: Sequence[Sample], key: str) -> list[Any]:
    return list(dict.fromkeys(sample[key] for sample in samples))


def bench(told: Mapping[str, Any], folder: Path) -> None:
    """Draw bars for each operation and server, a plot for each database and figure."""
    for database in unique(told["results"], "database"):
        samples = [sample for sample in told["results"] if sample["database"] == database]
        for figure, label in FIGURES:
            draw_bars(samples, figure, f"{TITLES[database]}: {label}")
            save(folder / f"bench-{database}-{figure.removesuffix('_us')}.svg")


def draw_bars(samples: Sequence[Sample], figure: str, title: str) -> None:
    operations = unique(samples, "operation")
    names = sorted(unique(samples, "server"), key=lambda name: name != "ours")
    width = 0.8 / len(names)
    plt.figure(figsize=(11, 4.5))
    for number, name in enumerate(names):
        heights = []
        for operation in operations:
            own = [
                sample[figure]
                for sample in samples
                if (sample["server"], sample["operation"]) == (name, operation)
            ]
            heights.append(median(own) if own else 0)
        places = [place + number * width - 0.4 + width / 2 for place in range(len(operations))]
        plt.bar(places, heights, width, label=name)
    plt.yscale("log")
    plt.xticks(range(len(operations)), operations)
    plt.title(title)
    plt.legend()
    plt.grid(axis="y", alpha=0.3)


def scale(told: Mapping[str, Any], folder: Path) -> None:
    """Draw what each read costs against the size of the table, a plot for each database."""
    for database in unique(told["results"], "database"):
        samples = [sample for sample in told["results"] if sample["database"] == database]
        plt.figure(figsize=(11, 6.5))
        reads = unique(samples, "read")
        colours = iter(mpl.colormaps["turbo"].resampled(len(reads)).colors)
        for read in reads:
            own = [sample for sample in samples if sample["read"] == read]
            sizes = sorted(unique(own, "tasks"))
            times = [
                median(sample["ms"] for sample in own if sample["tasks"] == size) for size in sizes
            ]
            plt.plot(sizes, times, marker="o", color=next(colours), label=read)
        plt.xscale("log")
        plt.ylim(bottom=0)
        plt.xlabel("tasks of one account")
        plt.title(f"{TITLES[database]}: milliseconds a request")
        plt.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1, 1))
        plt.grid(alpha=0.3)
        save(folder / f"scale-{database}.svg")


def save(path: Path) -> None:
    plt.tight_layout()
    plt.savefig(path, metadata={"Date": None})
    plt.close()


if __name__ == "__main__":
    kind, results, target = sys.argv[1:]
    {"bench": bench, "scale": scale}[kind](json.loads(Path(results).read_text()), Path(target))
