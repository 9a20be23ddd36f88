"""Transactional outbox: work that is stored with the change that causes it, and done after it.

``queue`` adds messages and registers their handlers, ``leases`` gives a message to one process at a
time, ``dispatcher`` runs the handlers. The ``thread`` of each server process either dispatches
messages or relays them to Celery workers. ``schedule`` has the periodic tasks.
"""
