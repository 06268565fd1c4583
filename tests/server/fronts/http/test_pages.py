"""The page of the API: it needs no other host and no token, and a browser that obeys its policy runs it."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

from gemwire_server.fronts.http.pages import PAGE, content_security_policy
from gemwire_server.security.tokens import make
from support.browser import Page, browser_page
from support.harness import running
from support.json_http import request
from support.token_files import write
from uninstalled import ROOT

FORM = """[...document.querySelectorAll('.operation')].find(
    (each) => each.textContent.startsWith('POST/v1/embeddings')).querySelector('form')"""
STATUS = (
    f"""[{FORM}.querySelector('[role=status]').textContent].find((text) => /^[0-9]+,/.test(text))"""
)


def test_it_is_self_contained() -> None:
    page = PAGE.read_text("utf-8")
    assert not re.findall(r"//[a-z0-9]+\.|src=|@import|url\(|innerHTML|document\.write", page)
    assert len(re.findall("<script", page)) == len(re.findall("<style", page)) == 1
    policy = content_security_policy(page)
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]+='; script-src 'sha256-[\w+/]+='; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        policy,
    )


def test_the_wheel_holds_it(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        name = str(PAGE.relative_to(ROOT / "server"))
        assert archive.read(name) == PAGE.read_bytes()


def test_a_browser_shows_it_and_tries_a_call(tiny_checkpoint: Path, tmp_path: Path) -> None:
    token, line = make("somebody")
    write(tmp_path / "tokens", line)
    with (
        running(
            str(tiny_checkpoint), http_address="127.0.0.1:0", tokens_file=str(tmp_path / "tokens")
        ) as server,
        browser_page(tmp_path / "profile") as page,
    ):
        document = request(server.http_address, "/openapi.json").json
        page.open(f"http://{server.http_address}/docs")
        page.wait_for("document.querySelectorAll('.operation').length")
        shown = page.evaluate(
            "[...document.querySelectorAll('.operation > summary')].map((e) => e.textContent)"
        )
        operations = [
            f"{verb.upper()}{path}{operation['summary']}"
            for path, item in document["paths"].items()
            for verb, operation in item.items()
        ]
        assert sorted(shown) == sorted(operations)
        schemas = page.evaluate(
            "[...document.querySelectorAll('.schema > summary')].map((e) => e.textContent)"
        )
        assert schemas == list(document["components"]["schemas"])
        send(page, "gemwire_wrong")
        assert page.wait_for(STATUS).startswith("401,")
        send(page, token)
        assert page.wait_for(STATUS).startswith("200,")
        answer = page.evaluate(f"{FORM}.querySelector('pre').textContent")
        assert answer.startswith('{"object":"list","data":[{"object":"embedding","index":0')
        assert not [each for each in page.events if each["method"] == "Runtime.exceptionThrown"]
        # The browser logs the status of the first call, and nothing that its policy forbids.
        entries = [each["params"]["entry"] for each in page.events if "entry" in each["params"]]
        logged = [entry["text"] for entry in entries if entry["level"] == "error"]
        assert len(logged) == 1 and "401" in logged[0], logged


def send(page: Page, token: str) -> None:
    page.evaluate(f"{FORM}.querySelector('[role=status]').textContent = ''")
    page.evaluate(f"document.querySelector('input[type=password]').value = {token!r}")
    page.evaluate(f"{FORM}.requestSubmit()")
