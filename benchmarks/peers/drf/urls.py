"""URL configuration."""

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from benchmarks.peers.drf.views import LoginView, LogoutView, TaskViewSet

router = SimpleRouter(trailing_slash=False)
router.register("tasks", TaskViewSet, basename="task")
urlpatterns = [
    path("api/v1/auth/login", LoginView.as_view()),
    path("api/v1/auth/logout", LogoutView.as_view()),
    path("api/v1/", include(router.urls)),
]
