"""The peers: the same API as it is usually written with other frameworks."""
