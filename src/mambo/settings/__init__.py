"""The settings: one frozen struct, read from the environment and from `.env`."""

from mambo.settings.loading import load_settings as load_settings
from mambo.settings.loading import read_environment as read_environment
from mambo.settings.model import Settings as Settings
from mambo.settings.model import SettingsError as SettingsError
