"""Ports for servers that tests and benchmarks start."""

import random
import socket

# Below 32768, where Linux begins to choose the ports of outgoing connections: one of these could
# take a port between the moment it is found free and the start of its server.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing uses. Raises OSError if 100 chosen ones are taken."""
    chosen = random.SystemRandom().sample(PORTS, 100)
    for port in chosen:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"No free port among {len(chosen)}.")
