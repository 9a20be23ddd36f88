"""Configuration from environment variables."""

from app.config.exceptions import ConfigurationError
from app.config.loading import ConfigSource, load
from app.config.parsers import database_url
from app.config.settings import (
    ENVIRONMENTS,
    ROOT,
    SETTINGS,
    Config,
    Development,
    Production,
    Setting,
    Testing,
)

__all__ = [
    "ENVIRONMENTS",
    "ROOT",
    "SETTINGS",
    "Config",
    "ConfigSource",
    "ConfigurationError",
    "Development",
    "Production",
    "Setting",
    "Testing",
    "database_url",
    "load",
]
