"""The app of these tests is that of media: with the Mux emulator, which takes learners' videos."""

from media.conftest import app as app
from media.conftest import emulator as emulator
from media.conftest import mux as mux
from media.conftest import settings as settings
from media.conftest import storage as storage
