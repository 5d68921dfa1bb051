"""Reports which page Django serves for a request, with the format suffixes of its REST framework."""

import django
from django.conf import settings

settings.configure(
    ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], INSTALLED_APPS=["rest_framework"],
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None, "DEFAULT_AUTHENTICATION_CLASSES": []},
)
django.setup()

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path, re_path  # noqa: E402
from rest_framework.urlpatterns import format_suffix_patterns  # noqa: E402


def page(name):
    return lambda request, rest="", format=None: HttpResponse(name)


urlpatterns = format_suffix_patterns([path("admin", page("admin")), path("admin/", page("admin"))]) + [
    path("admin/<path:rest>", page("admin")),
    re_path("", page("other")),
]
app = get_wsgi_application()
