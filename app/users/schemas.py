"""Schemas of users, for administrators."""

from marshmallow import fields

from app.api.fields import AwareDateTime, Enum, QueryBoolean, Sort, StrictBoolean, String
from app.api.schemas import FilteredListSchema, page_of
from app.auth.models import Role, User
from app.auth.schemas import EmailAddress, UserSchema
from app.extensions import ma
from app.users.services import USERS


class AccountSchema(UserSchema):
    """A user, and whether it is disabled."""

    class Meta:
        model = User
        example = {"disabled": False}

    disabled = fields.Boolean()


AccountPageSchema = page_of(AccountSchema)


class UpdateUserSchema(ma.Schema):
    class Meta:
        example = {"role": "admin"}

    role = Enum(Role)
    disabled = StrictBoolean()


class UserQuerySchema(FilteredListSchema):
    sort = Sort(USERS.sorts, load_default="-created_at")
    username = String(min_length=1, max_length=80, strip=True)
    email = EmailAddress(check=False)
    role = Enum(Role)
    disabled = QueryBoolean()
    email_verified = QueryBoolean()
    created_after = AwareDateTime()
