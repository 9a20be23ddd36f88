"""schemathesis, with all checks on, finds no answer that the document does not promise.

SCHEMATHESIS_EXAMPLES sets how many examples each operation gets; .ci/schemathesis asks for many.
"""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.server import started

HERE = Path(__file__).resolve().parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
# The short run is the same each time, so that it fails only for whoever broke something.
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")


def test_no_answer_breaks_what_the_document_promises(tmp_path):
    with started(os.environ.get("TEST_DATABASE_URL")) as server:
        address = f"http://127.0.0.1:{server.port}"
        ran = subprocess.run(
            [
                Path(sys.executable).with_name("st"),
                "--config-file",
                HERE / "schemathesis.toml",
                "run",
                f"{address}/api/v1/openapi.json",
                "--checks=all",
                "--continue-on-failure",
                f"--max-examples={EXAMPLES}",
                *([f"--seed={SEED}"] if SEED else []),
            ],
            env=os.environ
            | {
                "API_ADDRESS": address,
                "PYTHONPATH": str(HERE),
                "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout[-20_000:]
    assert "Stateful" in ran.stdout
