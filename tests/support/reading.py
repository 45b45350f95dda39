"""What a person does in a browser, in the words of tests."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tests.support.waiting import until


class Reader:
    """Somebody at a browser, given its driver."""

    def __init__(self, driver: Any, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str = "/") -> Reader:
        self.driver.get(path if "://" in path else self.url + path)
        return self

    def find(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def has(self, css: str) -> bool:
        return bool(self.driver.find_elements("css selector", css))

    @property
    def live(self) -> str:
        """The part of an answer that has been told by now; "" if none is being given."""
        found = self.driver.find_elements("css selector", "#live")
        return str(found[0].get_attribute("textContent")) if found else ""

    @property
    def text(self) -> str:
        return str(self.driver.execute_script("return document.getElementById('main').innerText"))

    def type(self, *keys: str) -> None:
        """Press keys where the focus is."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def say(self, message: str) -> None:
        """Write a message and press Enter, once the answer before it is complete."""
        until(lambda: not self.has("#say button:disabled"))
        field = self.find("#message")
        field.send_keys(message)
        field.send_keys("\ue007")

    def wait_for(self, text: str) -> None:
        until(lambda: text in self._text_now())

    def wait_until(self, css: str) -> None:
        until(lambda: self.has(css))

    def _text_now(self) -> str:
        errors: Any = import_module("selenium.common.exceptions")
        try:
            return self.text
        except errors.WebDriverException:  # the page is just being left
            return ""

    def look(self, width: int, height: int = 800, *, is_dark: bool = False) -> None:
        """Look with a screen of that size, in dark or light."""
        command = self.driver.execute_cdp_cmd
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        command("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        command("Emulation.setEmulatedMedia", {"features": [scheme]})

    @property
    def complaints(self) -> list[str]:
        """What the browser complains of, such as a violated Content-Security-Policy."""
        return [str(one["message"]) for one in self.driver.get_log("browser")]
