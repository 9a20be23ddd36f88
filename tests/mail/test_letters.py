"""Mails: what they say, to whom, and how they go out."""

import logging
import re
import smtplib
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app import create_app
from app.auth.mails import Notice
from app.auth.models import MailPurpose
from app.mail import letters
from app.mail.letters import Letter
from app.tasks.mails import TaskMail, Told
from tests.mailbox import TOKEN
from tests.smtp import listening

FOLDER = Path(letters.__file__).parent / "templates" / "mail"
TEMPLATES = sorted(path.stem for path in FOLDER.glob("*.txt"))
HERS = "alice@example.com"
SAID = {
    "username": "alice",
    "token": "x" * 43,
    "link": None,
    "call": "https://api.example.com/api/v1/auth/password/reset",
    "lifetime": "an hour",
    "tasks": [
        Told(
            "Buy milk", "Thursday, 31 January 2030, 09:00 (UTC)", "https://app.example.com/tasks/1"
        ),
        Told("Buy bread", None, "https://app.example.com/tasks/2"),
    ],
}
LINK = f"https://app.example.com/reset-password?token={'x' * 43}&lang=en"


@pytest.fixture
def write(app, mails):
    """Returns the mail that a template makes."""

    def made(template, to=HERS, **said):
        with app.app_context():
            letters.send(template, to, **SAID | said)
        [letter] = mails.arrived()
        return letter

    return made


def parts(letter):
    message = letter.message()
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    return message, text.get_content(), html.get_content()


def test_there_is_a_template_for_each_purpose_and_notice():
    assert sorted({*MailPurpose, *Notice, *TaskMail}) == TEMPLATES


@pytest.mark.parametrize("link", [None, LINK])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_mail_says_the_same_in_text_and_in_html_and_loads_nothing(write, template, link):
    message, text, html = parts(write(template, link=link))
    assert message["To"] == HERS
    assert message["From"] == "no-reply@127.0.0.1"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Subject"] in html
    assert text.startswith("Hello alice,\n\n")
    assert "{" not in text + html
    assert re.search("<img|<link|<script|src=|url\\(", html) is None
    shown = re.sub("<[^>]+>", "", html.partition("<body")[2].partition(">")[2])
    unescaped = shown.replace("&#34;", '"').replace("&amp;", "&")
    assert unescaped.split() == text.split()


@pytest.mark.parametrize("purpose", list(MailPurpose))
def test_a_mail_holds_the_link_where_there_is_one_and_else_the_token_and_its_call(write, purpose):
    _, text, html = parts(write(purpose, link=LINK))
    assert LINK in text.splitlines()
    assert f'href="{LINK.replace("&", "&amp;")}"' in html
    assert SAID["call"] not in text
    _, text, html = parts(write(purpose))
    assert TOKEN.findall(text) == [SAID["token"]]
    assert SAID["call"] in text
    assert "href" not in html


def test_what_is_sent_again_says_that_it_is_the_same(write):
    once, again, other = (
        write("password_changed", reference=name) for name in ("a.1", "a.1", "a.2")
    )
    assert once.message()["Message-ID"] == "<a.1@127.0.0.1>"
    assert again == once
    assert other.message()["Message-ID"] == "<a.2@127.0.0.1>"
    assert "Message-ID" not in write("password_changed").message()


def test_the_name_of_a_mail_is_ascii(app, write, monkeypatch):
    monkeypatch.setitem(app.config, "PUBLIC_URL", "https://bücher.example:8443")
    message = write("password_changed", reference="a.1").message()
    assert message["Message-ID"] == "<a.1@xn--bcher-kva.example>"
    assert message.as_bytes().isascii()


def test_what_a_name_holds_is_escaped_in_html(write):
    name = "<script>alert(1)</script>\"'&"
    _, text, html = parts(write("password_changed", username=name))
    assert name in text
    assert name not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;" in html


@pytest.mark.parametrize(
    "to",
    [
        "alice@example.com\r\nBcc: eve@example.com",
        "alice@example.com\nBcc: eve@example.com",
        "alice@example.com, eve@example.com",
        "alice@example.com> <eve@example.com",
    ],
)
def test_no_address_adds_a_header_or_a_recipient(app, mails, to):
    with app.app_context(), pytest.raises(ValueError, match=r"."):
        letters.send("password_changed", to, **SAID)
    assert mails.arrived() == []


@pytest.mark.parametrize("field", ["sender", "to", "subject"])
def test_no_header_holds_a_line_break(field):
    said = dict.fromkeys(("sender", "to", "subject", "text", "html"), "a@example.com")
    with pytest.raises(ValueError, match="linefeed or carriage return"):
        Letter(**said | {field: "a@example.com\r\nBcc: eve@example.com"}).message()


@pytest.mark.parametrize(
    ("address", "reached"),
    [
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ädä@bücher.example", "ädä@bücher.example"),
    ],
)
def test_an_international_address_is_reached(write, address, reached):
    assert write("password_changed", to=address).to == reached


@pytest.fixture
def shipped_app(settings):
    """Makes applications that are not for tests; what they log goes nowhere any more thereafter."""
    root = logging.getLogger()
    level = root.level
    yield lambda **chosen: create_app(
        settings | {"TESTING": False, "FLASK_CONFIG": "development"} | chosen
    )
    root.setLevel(level)
    for handler in [held for held in root.handlers if held.name == "app"]:
        root.removeHandler(handler)


def test_development_prints_mails_whole(shipped_app, capsys):
    app = shipped_app()
    with app.app_context():
        letters.send("reset_password", HERS, **SAID | {"link": LINK})
    assert LINK in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("server", "can_send"), [(None, False), ("smtp.example.com", True)])
def test_production_sends_where_there_is_a_server_and_else_says_so(
    shipped_app, caplog, server, can_send
):
    production = {
        "FLASK_CONFIG": "production",
        "PRODUCTION": True,
        "ALLOW_SQLITE": True,
        "PUBLIC_URL": "https://api.example.com",
        "LOG_FORMAT": "text",
        "MAIL_SERVER": server,
    }
    with caplog.at_level(logging.WARNING):
        app = shipped_app(**production)
    with app.app_context():
        assert letters.can_send() is can_send
    assert ("MAIL_SERVER is not set" in caplog.text) is not can_send
    assert app.config["MAIL_DEFAULT_SENDER"] == "no-reply@api.example.com"


@pytest.fixture
def smtp_app(shipped_app):
    """Makes applications that send by a server."""
    return lambda server, **chosen: shipped_app(
        **{"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": server.port, "MAIL_TIMEOUT": 5} | chosen
    )


@pytest.mark.parametrize("to", [HERS, "ädä@bücher.example"])
def test_a_mail_arrives_by_smtp(smtp_app, to):
    with listening() as server:
        sender = "Tasks <tasks@example.com>"
        app = smtp_app(server, MAIL_USE_TLS=False, MAIL_DEFAULT_SENDER=sender)
        with app.app_context():
            letters.send("reset_password", to, **SAID | {"link": LINK})
        message = server.wait()
    assert (message["To"], message["From"]) == (to, sender)
    assert LINK in message.get_body(("plain",)).get_content().splitlines()


def test_a_mail_that_the_server_refuses_is_an_error(smtp_app):
    with listening() as server:
        server.verdict = "554 no"
        app = smtp_app(server, MAIL_USE_TLS=False)
        with app.app_context(), pytest.raises(smtplib.SMTPDataError):
            letters.send("password_changed", HERS, **SAID)


@pytest.fixture
def untrusted(tmp_path):
    """A certificate for 127.0.0.1 that nobody vouches for."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context


def test_a_server_that_can_not_prove_its_name_is_told_nothing(smtp_app, untrusted):
    with listening(tls=untrusted) as server:
        app = smtp_app(server)
        with app.app_context(), pytest.raises(ssl.SSLCertVerificationError):
            letters.send("reset_password", HERS, **SAID)
        assert server.received == []
