"""Copies the files of Swagger UI and Redoc, with their licences, into the wheel."""

from importlib.resources import files
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = files("drf_spectacular_sidecar") / "static" / "drf_spectacular_sidecar"
FILES = (
    "swagger-ui-dist/LICENSE",
    "swagger-ui-dist/swagger-ui.css",
    "swagger-ui-dist/swagger-ui-bundle.js",
    "swagger-ui-dist/swagger-ui-bundle.js.LICENSE.txt",
    "redoc/LICENSE",
    "redoc/bundles/redoc.standalone.js",
    "redoc/bundles/redoc.standalone.js.LICENSE.txt",
)


class DocumentationFiles(BuildHookInterface[Any]):
    """Installs the files as `mambo_docs`, beside the package: an editable install has them there too."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        folder = "force_include_editable" if version == "editable" else "force_include"
        build_data[folder] |= {str(SOURCE / file): f"mambo_docs/{file}" for file in FILES}
