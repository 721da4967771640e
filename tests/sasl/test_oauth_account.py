"""Account files of OAuth2, and how password tables refer to them."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from twisted_mta.config.errors import ConfigError
from twisted_mta.sasl.oauth_account import (
    Account,
    ClientAuthentication,
    Grant,
    account_of,
    check_endpoint,
    check_redirect_uri,
    parse_account,
)

CLIENT = (
    'grant = "client_credentials"\nclient_id = "id"\nclient_secret = "hush"\ntoken_endpoint = "https://t.example/t"\n'
)


class ReferenceTests(SynchronousTestCase):
    """``oauth2:NAME`` in place of a password."""

    def test_references(self) -> None:
        """A name of an account follows the word; anything else is a password."""
        self.assertEqual(account_of("oauth2:work"), "work")
        self.assertEqual(account_of("oauth2:Work.2_a-b"), "Work.2_a-b")
        for password in ("", "secret", "OAuth2:work", "oauth2", " oauth2:work"):
            self.assertIsNone(account_of(password))

    def test_malformed_names(self) -> None:
        """What cannot be a name is an error, which does not show it: it may be a password after all."""
        for name in ("", "../etc", "a/b", ".hidden", "a b", "x" * 65, "a\n", "\u00e4"):
            error = self.assertRaises(ConfigError, account_of, f"oauth2:{name}")
            self.assertEqual(error.text, "what follows oauth2: in a password table is not the name of an account", name)


class FileTests(SynchronousTestCase):
    """Account files."""

    def problem(self, text: str) -> str:
        """What is wrong with a file."""
        error: ConfigError = self.assertRaises(ConfigError, parse_account, "work", text)
        return error.text

    def test_client_credentials(self) -> None:
        """The least that an application with rights of its own needs."""
        self.assertEqual(
            parse_account("work", CLIENT),
            Account(
                "work",
                Grant.CLIENT_CREDENTIALS,
                "id",
                "hush",
                "https://t.example/t",
                client_authentication=ClientAuthentication.BASIC,
            ),
        )

    def test_every_key(self) -> None:
        """All keys have their place."""
        text = """\
            grant = "device_code"
            client_id = "id"
            client_secret_file = "/etc/secret"
            client_authentication = "body"
            token_endpoint = "https://t.example/t"
            device_authorization_endpoint = "https://t.example/d"
            authorization_endpoint = "https://t.example/a"
            revocation_endpoint = "https://t.example/r"
            redirect_uri = "http://[::1]/done"
            scope = "a b"
            token_directory = "/var/tokens"
            ca_file = "/etc/ca.pem"
            token_parameters = { audience = "smtp" }
            authorization_parameters = { prompt = "consent" }
            """
        self.assertEqual(
            parse_account("work", text),
            Account(
                name="work",
                grant=Grant.DEVICE_CODE,
                client_id="id",
                token_endpoint="https://t.example/t",
                device_authorization_endpoint="https://t.example/d",
                authorization_endpoint="https://t.example/a",
                revocation_endpoint="https://t.example/r",
                redirect_uri="http://[::1]/done",
                scope="a b",
                client_authentication=ClientAuthentication.BODY,
                client_secret_file="/etc/secret",
                token_directory="/var/tokens",
                ca_file="/etc/ca.pem",
                token_parameters=(("audience", "smtp"),),
                authorization_parameters=(("prompt", "consent"),),
            ),
        )

    def test_google(self) -> None:
        """Google needs the client alone; a refresh token comes only where it is asked for."""
        account = parse_account(
            "g", 'provider = "google"\ngrant = "authorization_code"\nclient_id = "id"\nclient_secret = "hush"\n'
        )
        self.assertEqual(account.token_endpoint, "https://oauth2.googleapis.com/token")
        self.assertEqual(account.scope, "https://mail.google.com/")
        self.assertEqual(dict(account.authorization_parameters), {"access_type": "offline", "prompt": "consent"})
        self.assertEqual(account.client_authentication, ClientAuthentication.BODY)

    def test_google_without_device_codes(self) -> None:
        """Google does not let devices send mail, which is better said at once."""
        for grant in ("device_code", "client_credentials"):
            self.assertEqual(
                self.problem(f'provider = "google"\ngrant = "{grant}"\nclient_id = "id"\nclient_secret = "x"\n'),
                f"google gives no tokens for mail by grant {grant}: use authorization_code or refresh_token",
            )

    def test_microsoft(self) -> None:
        """Microsoft's endpoints have the tenant in them; a person grants less than an application has."""
        text = 'provider = "microsoft"\nclient_id = "id"\n'
        account = parse_account("m", f'{text}grant = "device_code"\n')
        self.assertEqual(
            (account.token_endpoint, account.device_authorization_endpoint, account.scope),
            (
                "https://login.microsoftonline.com/common/oauth2/v2.0/token",
                "https://login.microsoftonline.com/common/oauth2/v2.0/devicecode",
                "https://outlook.office.com/SMTP.Send offline_access",
            ),
        )
        account = parse_account(
            "m", f'{text}grant = "client_credentials"\nclient_secret = "x"\ntenant = "contoso.example"\n'
        )
        self.assertEqual(
            (account.token_endpoint, account.scope),
            (
                "https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token",
                "https://outlook.office365.com/.default",
            ),
        )

    def test_microsoft_tenants(self) -> None:
        """An application belongs to one tenant; and a tenant cannot lead to another page."""
        text = 'provider = "microsoft"\nclient_id = "id"\nclient_secret = "x"\ngrant = "client_credentials"\n'
        for tenant in ("", 'tenant = "common"\n'):
            self.assertEqual(self.problem(text + tenant), "grant client_credentials needs the tenant's id or domain")
        self.assertEqual(self.problem(f'{text}tenant = "a/../b"'), 'tenant is an id or a domain, not "a/../b"')
        self.assertEqual(
            self.problem(f'{CLIENT}tenant = "a"'), 'tenant means something with provider = "microsoft" only'
        )

    def test_own_words_win(self) -> None:
        """What a file says counts more than what is known of its provider."""
        account = parse_account(
            "m",
            'provider = "microsoft"\nclient_id = "id"\ngrant = "device_code"\nscope = "mine"\ntoken_endpoint = "https://x.example/"\n',
        )
        self.assertEqual((account.scope, account.token_endpoint), ("mine", "https://x.example/"))

    def test_problems(self) -> None:
        """What is wrong is said, with the key, and without any secret."""
        for text, problem in (
            ('scop = "x"\n', 'unknown key "scop"; did you mean scope?'),
            ("zzz = 1\n", 'unknown key "zzz"'),
            ("scope = 5\n", "scope is not a text between quotes"),
            ('scope = "a\\u0000b"\n', "scope has a control character in it"),
            ('client_authentication = "none"\n', 'client_authentication is one of basic, body, not "none"'),
            ('provider = "yahoo"\n', 'provider is google or microsoft, not "yahoo"'),
            ('client_secret_file = "/x"\n', "give one of client_secret and client_secret_file"),
            ('ca_file = "ca.pem"\n', 'ca_file is not absolute: "ca.pem"'),
            ("token_parameters = 5\n", 'token_parameters is not a table of texts, such as { audience = "..." }'),
            (
                "token_parameters = { a = 5 }\n",
                'token_parameters is not a table of texts, such as { audience = "..." }',
            ),
            ('token_parameters = { client_secret = "x" }\n', "token_parameters cannot set client_secret"),
            ('authorization_parameters = { state = "x" }\n', "authorization_parameters cannot set state"),
        ):
            self.assertEqual(self.problem(CLIENT + text), problem)

    def test_missing(self) -> None:
        """What has to be there, and is not."""
        for key, problem in (
            ("grant", "grant is missing: one of client_credentials, device_code, authorization_code, refresh_token"),
            ("client_id", "client_id is missing"),
            ("client_secret", "grant client_credentials needs client_secret or client_secret_file"),
            ("token_endpoint", "token_endpoint is missing; grant client_credentials needs it"),
        ):
            text = "".join(line for line in CLIENT.splitlines(True) if not line.startswith(f"{key} "))
            self.assertEqual(self.problem(text), problem)
        for grant, key in (
            ("device_code", "device_authorization_endpoint"),
            ("authorization_code", "authorization_endpoint"),
        ):
            self.assertEqual(
                self.problem(CLIENT.replace("client_credentials", grant)), f"{key} is missing; grant {grant} needs it"
            )
        self.assertEqual(
            self.problem(CLIENT.replace("client_credentials", "password")),
            'grant is one of client_credentials, device_code, authorization_code, refresh_token, not "password"',
        )

    def test_no_toml(self) -> None:
        """The place of a mistake in the form is told; not what stands there."""
        problem = self.problem('scope = "a"\nclient_secret = "hush"; x')
        self.assertRegex(problem, r"^this is no TOML: .*line 2")
        self.assertNotIn("hush", problem)

    def test_control_characters_in_tables(self) -> None:
        """A table of parameters may hold any text: it is encoded."""
        account = parse_account("work", f'{CLIENT}token_parameters = {{ a = "b\\nc" }}\n')
        self.assertEqual(account.token_parameters, (("a", "b\nc"),))

    @settings(deadline=None, max_examples=60)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Whatever a file holds, it makes an account or a ConfigError."""
        try:
            parse_account("work", CLIENT + text)
        except ConfigError as error:
            self.assertNotIn("hush", error.describe())


class EndpointTests(SynchronousTestCase):
    """Where secrets may be sent (RFC 6749 section 3.2)."""

    def test_endpoints(self) -> None:
        """Over https anywhere, over http within this machine only."""
        for url in (
            "https://t.example/a?b=c",
            "https://[2001:db8::1]:8443/",
            "http://127.0.0.1:8000/t",
            "http://[::1]/",
            "http://localhost/",
        ):
            check_endpoint("token_endpoint", url)
        for url, problem in (
            ("http://t.example/", "does not begin with https://"),
            ("http://127.0.0.1.example/", "does not begin with https://"),
            ("ftp://t.example/", "does not begin with https://"),
            ("https://user@t.example/", "has a user name or a fragment in it"),
            ("https://t.example/#x", "has a user name or a fragment in it"),
            ("https://", "is no URL"),
            ("https://t.example:0/", "is no URL"),
            ("https://t.example:99999/", "is no URL"),
            ("https://[::1/", "is no URL"),
            ("https://t.example/a b", "is no URL"),
            ("https://t\u00e4.example/", "is no URL"),
            ("t.example", "is no URL"),
        ):
            self.assertIn(
                f"token_endpoint {problem}", str(self.assertRaises(ConfigError, check_endpoint, "token_endpoint", url))
            )

    def test_redirect_uris(self) -> None:
        """A browser is sent to this machine, to a port that is not known yet (RFC 8252 section 7.3)."""
        for url in ("http://127.0.0.1", "http://[::1]", "http://localhost", "http://127.0.0.1/callback"):
            check_redirect_uri(url)
        for url in (
            "https://127.0.0.1",
            "http://192.0.2.1",
            "http://127.0.0.1:80",
            "http://localhost/?a=b",
            "http://[::1",
            "http://a@localhost",
            "",
        ):
            self.assertRaises(ConfigError, check_redirect_uri, url)

    def test_values_are_compared(self) -> None:
        """Two readings of a file that has not changed are equal; another secret makes another account."""
        account = parse_account("work", CLIENT)
        self.assertEqual(account, parse_account("work", CLIENT))
        self.assertNotEqual(account, replace(account, client_secret="other"))
