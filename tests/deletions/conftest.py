"""These tests run against the app with image storage and videos."""

from support.media_app import app as app
from support.media_app import settings as settings
