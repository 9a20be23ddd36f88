"""The API as in the documentation of Django REST Framework, with simplejwt."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.peers.drf.settings")


def fill(users: int, tasks_per_user: int) -> None:
    """Create the tables and insert the rows."""
    import django  # noqa: PLC0415  # Django is set up below

    django.setup()
    from benchmarks.peers.drf.rows import fill as fill_tables  # noqa: PLC0415  # models need a Django that is set up

    fill_tables(users, tasks_per_user)
