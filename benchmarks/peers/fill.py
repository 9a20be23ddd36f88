"""Put the rows into a peer's database, through the peer's own tables: fill.py PEER USERS TASKS."""

import sys
from importlib import import_module

if __name__ == "__main__":
    name, users, each = sys.argv[1:]
    import_module(f"peers.{name}").fill(int(users), int(each))
