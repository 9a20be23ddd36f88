"""The API as Django REST Framework's documentation writes it, with simplejwt."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "peers.drf.settings")


def fill(users: int, each: int) -> None:
    """Create the tables and put the rows in."""
    import django  # noqa: PLC0415  # Django's parts can be imported once it is set up

    django.setup()
    from peers.drf.rows import fill as fill_tables  # noqa: PLC0415  # the same

    fill_tables(users, each)
