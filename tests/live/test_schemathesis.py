"""All checks of schemathesis against a running server.

SCHEMATHESIS_EXAMPLES sets the number of examples per operation; .ci/schemathesis uses many.
"""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.server import started

HERE = Path(__file__).resolve().parent
EXAMPLES = os.environ.get("SCHEMATHESIS_EXAMPLES", "10")
# The short run is reproducible.
SEED = os.environ.get("SCHEMATHESIS_SEED", "1")


def test_responses_match_the_document(tmp_path):
    with started(os.environ.get("TEST_DATABASE_URL")) as server:
        address = f"http://127.0.0.1:{server.port}"
        result = subprocess.run(
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
    assert result.returncode == 0, result.stdout[-20_000:]
    assert "Stateful" in result.stdout
