"""Fill a peer's database: ``python -m benchmarks.peers.fill PEER USERS TASKS``."""

import sys
from importlib import import_module

if __name__ == "__main__":
    name, users, tasks_per_user = sys.argv[1:]
    import_module(f"benchmarks.peers.{name}").fill(int(users), int(tasks_per_user))
