"""The exception for invalid settings."""

import click


class ConfigurationError(click.ClickException):
    """Invalid settings; the message lists every problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Invalid configuration:\n- " + "\n- ".join(problems))
