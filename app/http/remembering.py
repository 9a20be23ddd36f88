"""Lists that are remembered: none that has not changed since is read a second time.

A page that depends on its question and on little else is named by these, before anything is read.
Its name is its entity tag: whoever has what it names is told so at once, by whichever process.
Whoever asks in vain is given what this process answered before, if it still has it. What a name
stands for never changes, so nothing is ever forgotten too late. Of each question the last answer is
kept: those before go by names that will hardly be asked for again.
"""

import hashlib
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask, current_app, request

from app.extensions import cache
from app.http.answers import Text, page_text, tell, unchanged
from app.http.conditional import is_held
from app.http.context import itself
from app.http.output import OutputSchema
from app.http.promises import View
from app.origin import origin

# So many bytes each process remembers, and no page that is longer than so many.
MOST = 16 * 1024 * 1024
LARGEST = 128 * 1024

State = tuple[int | str, ...]


def remembered(
    schema: OutputSchema, depends_on: Callable[..., State | None]
) -> Callable[[View], View]:
    """Remember what a view of pages, whose rows ``schema`` shows, has answered.

    ``depends_on`` gets what the view gets. It returns all that a page depends on beside the
    question, with whose it is; or None where that is more than can be told.
    """
    shape = ",".join(f"{name} {type(field).__name__}" for name, field in schema.fields.items())

    def decorator(view: View) -> View:
        @wraps(view)
        def remembering(*args: Any, **kwargs: Any) -> Any:
            state = depends_on(*args, **kwargs)
            if state is None:
                return view(*args, **kwargs)
            name = _name(shape, state)
            if is_held(name):
                return unchanged(name)
            # Should two questions ever share a number, one has the other read anew.
            asked = itself(request)
            question = str(hash((asked.path, asked.query_string, origin().user_id)))
            text: Text | None = cache.get(question)
            if text is None or text.tag != name:
                text = _remember(question, page_text(view(*args, **kwargs), name))
            return tell(text)

        return remembering

    return decorator


def _name(shape: str, state: State) -> str:
    asked, config = itself(request), itself(current_app).config
    # With the secret nobody else can tell a tag, and it is another once cursors are signed by it.
    made_by = (config["API_VERSION"], config["PUBLIC_URL"], config["SECRET_KEY"], shape)
    named = repr((made_by, asked.path, asked.query_string, state))
    return f'"{hashlib.blake2b(named.encode(), digest_size=16).hexdigest()}"'


def _remember(question: str, text: Text) -> Text:
    if len(text.body) <= LARGEST:
        cache.set(question, text)
    return text


def init_app(app: Flask) -> None:
    options = {"most": MOST}
    cache.init_app(app, {"CACHE_TYPE": "app.http.memory.Memory", "CACHE_OPTIONS": options})
