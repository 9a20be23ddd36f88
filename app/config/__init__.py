"""Configuration from environment variables."""

from app.config.loading import ConfigSource, ConfigurationError, load
from app.config.parsers import database_url
from app.config.settings import ROOT, SETTINGS, Config, Production, Testing

__all__ = [
    "ROOT",
    "SETTINGS",
    "Config",
    "ConfigSource",
    "ConfigurationError",
    "Production",
    "Testing",
    "database_url",
    "load",
]
