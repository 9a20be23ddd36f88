"""What administrators say and are told of accounts."""

from typing import Any

from flask_marshmallow import Schema
from marshmallow import fields, post_load

from app.auth.models import Role, User
from app.auth.schemas import KnownEmailAddress, PageQuery, UserSchema
from app.http.fields import Instant, OneOf, Sort, Switch, Text, TrueOrFalse
from app.http.output import page_schema

SORTS = ("created_at", "username")


class AccountSchema(UserSchema):
    """A user, and whether it is disabled."""

    class Meta:
        model = User
        example = {"disabled": False}

    disabled = fields.Boolean()


class ChangeUserSchema(Schema):
    class Meta:
        example = {"role": "admin"}

    role = OneOf(Role)
    disabled = TrueOrFalse()


class UserQuery(PageQuery):
    sort = Sort(SORTS, load_default="-created_at")
    username = Text(least=1, most=80, trim=True)
    email = KnownEmailAddress()
    role = OneOf(Role)
    disabled = Switch()
    email_verified = Switch()
    created_after = Instant()

    @post_load
    def _gather_filters(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        paging = {name: data.pop(name) for name in ("limit", "cursor", "sort")}
        return paging | {"filters": data}


ACCOUNT = AccountSchema()
ACCOUNT_PAGE = page_schema(ACCOUNT)
CHANGE_USER = ChangeUserSchema(partial=True)
USER_QUERY = UserQuery()
