"""Secret keys: generation outside production, and detection of placeholders."""

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

SECRET_KEYS = ("SECRET_KEY", "JWT_SECRET_KEY")

# A placeholder consists only of these words and contains at least one that is typical of examples.
PLACEHOLDER = re.compile(
    r"(?=.*(?:change|replace|placeholder|your|example|insecure|todo|default|generate|guess|password"
    r"|production|super|very|this|secretsecret))"
    r"(?:change|me|replace|this|is|with|your|you|an?|the|my|not|do|use|will|never|guess|hard|only"
    r"|secret|key|jwt|super|very|random|string|phrase|word|pass|please|now|placeholder|default"
    r"|generate|openssl|rand|dev|development|test|testing|django|flask|insecure|example|todo|in|and"
    r"|production|value|here|to|for|long|enough|own|of|at|least|bytes|characters|[0-9])+"
)


def is_placeholder(secret: str) -> bool:
    """Return whether a secret was copied from an example, such as ``change-me-please``."""
    return PLACEHOLDER.fullmatch(re.sub(r"[\W_]", "", secret.lower())) is not None


def split_secrets(values: Mapping[str, Any], name: str) -> list[str]:
    """Return the secrets in a setting; only JWT_SECRET_KEY may hold several."""
    text = values[name] or ""
    parts = text.split(",") if name == "JWT_SECRET_KEY" else [text]
    return [part.strip() for part in parts if part.strip()]


def generate_missing_secrets(values: dict[str, Any]) -> None:
    """Set each missing secret to the one stored in the instance directory."""
    for name in SECRET_KEYS:
        if not split_secrets(values, name):
            values[name] = read_or_create_secret(Path(values["INSTANCE_PATH"]) / name.lower())


def read_or_create_secret(path: Path) -> str:
    """Return the secret in a file; create the file with mode 0600 if it does not exist.

    When processes race, the first one to link its complete temporary file wins.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.") as file:
            file.write(secrets.token_urlsafe(48))
            file.flush()
            with suppress(FileExistsError):
                os.link(file.name, path)
    return path.read_text().strip()
