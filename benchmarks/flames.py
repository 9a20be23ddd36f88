"""Draw where a request's time goes: flame graphs of a worker that is driven, by py-spy.

    pipenv run python benchmarks/flames.py docs/images
    pipenv run python benchmarks/flames.py --only create --checkout ../earlier --suffix before DIR

What waits is left out, for the database too. ``--checkout`` is another state of this repository,
whose server is drawn.
"""

import argparse
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import environment
from bench import Field, names_of
from operations import OPERATIONS
from server import Server
from servers import end_on_term, filled_one

DRAWN = ("get", "list", "patch", "create")
RATE = 500


def draw(field: Field, operation: str, seconds: int, path: Path) -> None:
    """Record the worker of a server while it is driven."""
    [worker] = field.servers["ours"].workers()
    record = [
        environment.python().with_name("py-spy"), "record",
        "--pid", str(worker), "--duration", str(seconds), "--rate", str(RATE),
        "--gil", "--format", "flamegraph", "--output", path,
    ]  # fmt: skip
    # Logs the clients in, which is not what is to be drawn.
    field.measure("ours", operation, 0, 1)
    with ThreadPoolExecutor() as pool:
        recorded = pool.submit(subprocess.run, record, check=True, capture_output=True)
        # On a busy machine it takes py-spy a while to begin.
        while not recorded.done():
            field.measure("ours", operation, 0, seconds)
        recorded.result()
    # Frames name files as the interpreter found them, and the title is the command; where that was
    # is nobody's business.
    text = path.read_text()
    for place in (environment.ROOT, Server.folder, path.parent):
        text = text.replace(f"{place}/", "")
    path.write_text(text)


def options() -> argparse.ArgumentParser:
    """Declare what may be asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("folder", type=Path, help="where the graphs go")
    add("--only", type=names_of(list(OPERATIONS)), default=list(DRAWN), help=", ".join(DRAWN))
    add("--seconds", type=int, default=8)
    add("--checkout", type=Path, default=environment.ROOT)
    add("--suffix", default="after")
    return parser


def main() -> None:
    """Draw each operation that is asked for."""
    asked = options().parse_args()
    end_on_term()
    Server.folder = asked.checkout.resolve()
    # Of two workers, one may be given every connection, and the other nothing to do.
    alone = {"WEB_CONCURRENCY": "1"}
    with filled_one("ours", None, users=16, each=250, own=alone) as server:
        field = Field({"ours": server}, "sqlite", 250)
        for operation in asked.only:
            name = f"flame-{operation.replace(' ', '-')}-{asked.suffix}.svg"
            draw(field, operation, asked.seconds, asked.folder / name)
            print(asked.folder / name)


if __name__ == "__main__":
    main()
