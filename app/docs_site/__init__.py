"""The OpenAPI document, its viewers, and the pages of the problems."""
