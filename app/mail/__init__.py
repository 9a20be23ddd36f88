"""Email: templates and backends."""
