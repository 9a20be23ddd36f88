"""Email: content, headers, recipients, delivery."""

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
from app.auth.emails import SecurityNotice
from app.auth.models import EmailTokenPurpose
from app.mail import sender
from app.mail.sender import EmailMessage
from app.tasks.emails import TaskEmail
from tests.mailbox import TOKEN
from tests.smtp import listening

FOLDER = Path(sender.__file__).parent / "templates" / "mail"
TEMPLATES = sorted(path.stem for path in FOLDER.glob("*.txt"))
ADDRESS = "alice@example.com"
CONTEXT = {
    "username": "alice",
    "token": "x" * 43,
    "link": None,
    "call": "https://api.example.com/api/v1/auth/password/reset",
    "lifetime": "an hour",
    "tasks": [
        {
            "title": "Buy milk",
            "due": "Thursday, 31 January 2030, 09:00 (UTC)",
            "link": "https://app.example.com/tasks/1",
        },
        {"title": "Buy bread", "due": None, "link": "https://app.example.com/tasks/2"},
    ],
}
LINK = f"https://app.example.com/reset-password?token={'x' * 43}&lang=en"


@pytest.fixture
def render(app, mails):
    """Send an email from a template and return it."""

    def send(template, to=ADDRESS, **context):
        with app.app_context():
            sender.send(template, to, **CONTEXT | context)
        [message] = mails.arrived()
        return message

    return send


def parts(email):
    message = email.message()
    text, html = message.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    return message, text.get_content(), html.get_content()


def test_each_email_has_a_template():
    assert sorted({*EmailTokenPurpose, *SecurityNotice, *TaskEmail}) == TEMPLATES


@pytest.mark.parametrize("link", [None, LINK])
@pytest.mark.parametrize("template", TEMPLATES)
def test_text_and_html_are_equal_and_load_no_resources(render, template, link):
    message, text, html = parts(render(template, link=link))
    assert message["To"] == ADDRESS
    assert message["From"] == "no-reply@127.0.0.1"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Subject"] in html
    assert text.startswith("Hello alice,\n\n")
    assert "{" not in text + html
    assert re.search("<img|<link|<script|src=|url\\(", html) is None
    shown = re.sub("<[^>]+>", "", html.partition("<body")[2].partition(">")[2])
    unescaped = shown.replace("&#34;", '"').replace("&amp;", "&")
    assert unescaped.split() == text.split()


@pytest.mark.parametrize("purpose", list(EmailTokenPurpose))
def test_email_contains_link_or_token_and_call(render, purpose):
    _, text, html = parts(render(purpose, link=LINK))
    assert LINK in text.splitlines()
    assert f'href="{LINK.replace("&", "&amp;")}"' in html
    assert CONTEXT["call"] not in text
    _, text, html = parts(render(purpose))
    assert TOKEN.findall(text) == [CONTEXT["token"]]
    assert CONTEXT["call"] in text
    assert "href" not in html


def test_repeated_email_keeps_its_message_id(render):
    once, again, other = (
        render("password_changed", reference=name) for name in ("a.1", "a.1", "a.2")
    )
    assert once.message()["Message-ID"] == "<a.1@127.0.0.1>"
    assert again == once
    assert other.message()["Message-ID"] == "<a.2@127.0.0.1>"
    assert "Message-ID" not in render("password_changed").message()


def test_message_id_is_ascii(app, render, monkeypatch):
    monkeypatch.setitem(app.config, "PUBLIC_URL", "https://bücher.example:8443")
    message = render("password_changed", reference="a.1").message()
    assert message["Message-ID"] == "<a.1@xn--bcher-kva.example>"
    assert message.as_bytes().isascii()


def test_username_is_escaped_in_html(render):
    name = "<script>alert(1)</script>\"'&"
    _, text, html = parts(render("password_changed", username=name))
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
def test_address_cannot_inject_header_or_recipient(app, mails, to):
    with app.app_context(), pytest.raises(ValueError, match=r"."):
        sender.send("password_changed", to, **CONTEXT)
    assert mails.arrived() == []


@pytest.mark.parametrize("field", ["sender", "to", "subject"])
def test_header_with_line_break_is_rejected(field):
    fields = dict.fromkeys(("sender", "to", "subject", "text", "html"), "a@example.com")
    with pytest.raises(ValueError, match="linefeed or carriage return"):
        EmailMessage(**fields | {field: "a@example.com\r\nBcc: eve@example.com"}).message()


@pytest.mark.parametrize(
    ("address", "recipient"),
    [
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ädä@bücher.example", "ädä@bücher.example"),
    ],
)
def test_international_domain_is_sent_in_ascii(render, address, recipient):
    assert render("password_changed", to=address).to == recipient


@pytest.fixture
def shipped_app(settings):
    """Create applications as outside of tests, and remove their log handlers afterwards."""
    root = logging.getLogger()
    level = root.level
    yield lambda **changes: create_app(
        settings | {"TESTING": False, "FLASK_CONFIG": "development"} | changes
    )
    root.setLevel(level)
    for handler in [each for each in root.handlers if each.name == "app"]:
        root.removeHandler(handler)


def test_development_prints_emails(shipped_app, capsys):
    app = shipped_app()
    with app.app_context():
        sender.send("reset_password", ADDRESS, **CONTEXT | {"link": LINK})
    assert LINK in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(("server", "can_send"), [(None, False), ("smtp.example.com", True)])
def test_production_without_mail_server_warns(shipped_app, caplog, server, can_send):
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
        assert sender.can_send() is can_send
    assert ("MAIL_SERVER is not set" in caplog.text) is not can_send
    assert app.config["MAIL_DEFAULT_SENDER"] == "no-reply@api.example.com"


@pytest.fixture
def smtp_app(shipped_app):
    """Create applications that send through an SMTP server."""
    return lambda server, **changes: shipped_app(
        **{"MAIL_SERVER": "127.0.0.1", "MAIL_PORT": server.port, "MAIL_TIMEOUT": 5} | changes
    )


@pytest.mark.parametrize("to", [ADDRESS, "ädä@bücher.example"])
def test_email_arrives_by_smtp(smtp_app, to):
    with listening() as server:
        from_address = "Tasks <tasks@example.com>"
        app = smtp_app(server, MAIL_USE_TLS=False, MAIL_DEFAULT_SENDER=from_address)
        with app.app_context():
            sender.send("reset_password", to, **CONTEXT | {"link": LINK})
        message = server.wait()
    assert (message["To"], message["From"]) == (to, from_address)
    assert LINK in message.get_body(("plain",)).get_content().splitlines()


def test_email_rejected_by_server_raises(smtp_app):
    with listening() as server:
        server.verdict = "554 no"
        app = smtp_app(server, MAIL_USE_TLS=False)
        with app.app_context(), pytest.raises(smtplib.SMTPDataError):
            sender.send("password_changed", ADDRESS, **CONTEXT)


@pytest.fixture
def untrusted(tmp_path):
    """A self-signed certificate for 127.0.0.1."""
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


def test_untrusted_server_receives_nothing(smtp_app, untrusted):
    with listening(tls=untrusted) as server:
        app = smtp_app(server)
        with app.app_context(), pytest.raises(ssl.SSLCertVerificationError):
            sender.send("reset_password", ADDRESS, **CONTEXT)
        assert server.received == []
