"""gunicorn for the WSGI peers: processes, threads and keep-alive as for ours; no access log."""

import os

bind = f"127.0.0.1:{os.environ['PORT']}"
worker_class = "gthread"
workers = int(os.environ["WEB_CONCURRENCY"])
threads = int(os.environ["THREADS"])
keepalive = 75
control_socket_disable = True
