"""Services of users: registration, login, sessions, the own account, personal access tokens."""
