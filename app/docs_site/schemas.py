"""Schemas of the OpenAPI document and of the index of the API."""

from marshmallow import INCLUDE, fields

from app.extensions import ma


class SpecSchema(ma.Schema):
    """An OpenAPI 3.1 document."""

    class Meta:
        unknown = INCLUDE
        example = {
            "openapi": "3.1.0",
            "info": {"title": "Task API", "version": "1.0.0"},
            "paths": {},
        }

    openapi = fields.String(required=True)
    info = fields.Dict(required=True)
    paths = fields.Dict(required=True)


# The endpoints that the index of the API links to.
INDEX = {
    "openapi": "openapi.read_document",
    "docs": "site.docs",
    "account": "auth.read_account",
    "sessions": "auth.list_sessions",
    "tokens": "auth.list_personal_tokens",
    "tasks": "tasks.list_tasks",
    "jobs": "jobs.list_jobs",
    "users": "users.list_users",
}


class ApiIndexSchema(ma.Schema.from_dict({name: fields.URL(required=True) for name in INDEX})):  # type: ignore[misc]  # built of INDEX
    """Links to the OpenAPI document, its page, and the collections."""

    class Meta:
        example = {
            "openapi": "https://api.example.com/api/v1/openapi.json",
            "docs": "https://api.example.com/docs",
            "account": "https://api.example.com/api/v1/auth/me",
            "sessions": "https://api.example.com/api/v1/auth/sessions",
            "tokens": "https://api.example.com/api/v1/auth/tokens",
            "tasks": "https://api.example.com/api/v1/tasks",
            "jobs": "https://api.example.com/api/v1/jobs",
            "users": "https://api.example.com/api/v1/users",
        }
