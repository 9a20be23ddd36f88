"""Views."""

from typing import Any

from rest_framework import mixins, viewsets
from rest_framework.filters import OrderingFilter, SearchFilter
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.views import TokenObtainPairView

from benchmarks.peers.drf.models import RevokedToken, Task
from benchmarks.peers.drf.serializers import LoginSerializer, TaskSerializer


class LoginView(TokenObtainPairView):
    serializer_class = LoginSerializer


class LogoutView(APIView):
    def post(self, request: Request) -> Response:
        RevokedToken.objects.create(jti=request.auth["jti"])
        return Response(status=204)


class KeyAndIdOrdering(OrderingFilter):
    """Ordering by the chosen key and then by id."""

    def get_ordering(self, request: Request, queryset: Any, view: Any) -> list[str]:
        key, *_ = super().get_ordering(request, queryset, view)
        return [key, "-id" if key.startswith("-") else "id"]


class TaskViewSet(
    mixins.CreateModelMixin,
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    mixins.UpdateModelMixin,
    viewsets.GenericViewSet,
):
    serializer_class = TaskSerializer
    filter_backends = [SearchFilter, KeyAndIdOrdering]
    search_fields = ["title", "description"]
    ordering_fields = ["created_at", "priority"]
    ordering = ["-created_at"]

    def get_queryset(self) -> Any:
        own = Task.objects.filter(created_by=self.request.user)
        status = self.request.query_params.get("status")
        return own.filter(status=status) if status else own
