"""The types of echo.thrift, which thriftpy2 reads as it stands."""

from typing import Any

import thriftpy2

from tests.interop.building import SOURCES

ECHO: Any = thriftpy2.load(str(SOURCES / "echo.thrift"), module_name="echo_thrift")
