"""simplejwt's authentication, which also refuses tokens that were revoked."""

from typing import Any

from peers.drf.models import RevokedToken
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import InvalidToken


class RevocableJWTAuthentication(JWTAuthentication):
    def get_validated_token(self, raw_token: bytes) -> Any:
        token = super().get_validated_token(raw_token)
        if RevokedToken.objects.filter(jti=token["jti"]).exists():
            raise InvalidToken
        return token
