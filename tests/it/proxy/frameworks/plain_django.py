"""Reports which page Django serves for a request."""

import django
from django.conf import settings

settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path, re_path  # noqa: E402


def page(name):
    return lambda request, rest="": HttpResponse(name)


urlpatterns = [
    path("admin", page("admin")),
    path("admin/", page("admin")),
    path("admin/<path:rest>", page("admin")),
    re_path("", page("other")),
]
app = get_wsgi_application()
