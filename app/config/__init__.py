"""Configuration from environment variables."""

from app.config.loading import ConfigSource, ConfigurationError, address, load
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
    "address",
    "database_url",
    "load",
]
