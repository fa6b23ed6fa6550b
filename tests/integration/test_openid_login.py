"""People log in by the site's OpenID provider: a real one, a real web station, and every way it may go wrong."""

import time
from collections.abc import Callable, Iterator

import httpx2
import pytest
from openid_provider import Claims, OpenIdProvider, keyed, new_key, openid_provider, signed, unsigned
from openid_site import OpenIdSite, consent, person, sign_in
from people import PASSWORD, Browser
from processes import free_port

from storage import users
from storage.schema import User
from vb_node.web import passwords

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")


@pytest.fixture(scope="module")
def running() -> Iterator[OpenIdProvider]:
    with openid_provider(free_port()) as made:
        yield made


@pytest.fixture
def provider(running: OpenIdProvider) -> Iterator[OpenIdProvider]:
    yield running
    running.reset()


@pytest.fixture(scope="module")
def site(running: OpenIdProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenIdSite]:
    made = OpenIdSite(tmp_path_factory.mktemp("site"), running).start()
    yield made
    made.stop()


@pytest.fixture
def browser(site: OpenIdSite, hosts: Iterator[str]) -> Iterator[Browser]:
    with Browser(site.url, next(hosts)) as made:
        yield made


@pytest.fixture(scope="module")
def hosts() -> Iterator[str]:
    """Give each person a machine: failures are counted by address."""
    return (f"127.0.1.{number}" for number in range(1, 255))


def test_a_person_with_a_role_gets_the_session_that_any_user_gets(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser
) -> None:
    anna = person(provider, "anna", "staff", "auditors")

    entered = sign_in(browser, anna, "/jobs?state=FAILED")
    seen = [browser.get(path).status_code for path in ("/api/v1/jobs", "/api/v1/audit", "/rules")]

    assert 'content="0; url=/jobs?state=FAILED"' in entered.text
    assert seen == [200, 200, 200]
    assert "samesite=strict" in entered.headers["set-cookie"].lower()
    known = {"issuer": provider.issuer, "subject": "anna"}
    assert site.events(event="user added")[-1].details == {"name": "oidc:anna", "role": "auditor"} | known
    (login,) = site.events(event="login", user="oidc:anna")
    assert known.items() <= login.details.items()


def test_a_session_of_such_a_person_ends_by_logout(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser
) -> None:
    sign_in(browser, person(provider, "leaving", "radiology"))
    kept = dict(browser.cookies)

    browser.post("/logout", headers=browser.page)

    assert httpx2.get(f"{site.url}/api/v1/jobs", cookies=kept).status_code == 401


def test_what_begins_is_bound_to_the_browser_and_out_of_reach_of_scripts(browser: Browser) -> None:
    begun = browser.get("/login/openid")

    kept = begun.headers["set-cookie"].lower()
    address = httpx2.URL(begun.headers["location"])
    assert "httponly" in kept
    assert "samesite=lax" in kept
    assert address.params["code_challenge_method"] == "S256"
    assert {address.params[name] for name in ("state", "nonce")}.isdisjoint(kept.split(";")[0].split("=")[1].split("."))


def _other_key(claims: Claims) -> str:
    return signed(claims, new_key("first"))


def _unknown_key(claims: Claims) -> str:
    return signed(claims, new_key("never published"))


@pytest.mark.parametrize(
    "changed",
    [
        {"nonce": "of another login"}, {"nonce": None}, {"aud": "another client"}, {"aud": None},
        {"aud": ["another client", "and another"]}, {"azp": "another client"}, {"iss": "https://evil.example"},
        {"iss": None}, {"exp": 1_700_000_000}, {"exp": None}, {"exp": "tomorrow"}, {"iat": 4_100_000_000},
        {"nbf": 4_100_000_000}, {"at_hash": "b" * 22}, {"sub": None}, {"sub": 7}, {"sub": ""},
        {"preferred_username": None}, {"preferred_username": "anna\r\nadmin"}, {"preferred_username": ["anna"]},
        {"preferred_username": "a" * 60},
    ],
    ids=str,
)  # fmt: skip
def test_an_id_token_that_says_something_else_begins_nothing(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser, changed: Claims
) -> None:
    provider.changed = changed

    _check_refused(site, browser, sign_in(browser, person(provider, "anna", "auditors")))


@pytest.mark.parametrize("sign", [unsigned, _other_key, _unknown_key, lambda _: "a.b.c", lambda _: ""])
def test_an_id_token_that_the_provider_did_not_sign_begins_nothing(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser, sign: Callable[[Claims], str]
) -> None:
    provider.sign = sign

    _check_refused(site, browser, sign_in(browser, person(provider, "anna", "auditors")))


@pytest.mark.parametrize("word", ["the client's secret", "the provider's public key"])
def test_a_secret_that_others_know_signs_nothing(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser, word: str
) -> None:
    public = provider.key.as_pem(private=False)
    known = {"the client's secret": provider.client_secret.encode(), "the provider's public key": public}[word]
    provider.sign = lambda claims: keyed(claims, known)

    _check_refused(site, browser, sign_in(browser, person(provider, "anna", "auditors")))


def _check_refused(site: OpenIdSite, browser: Browser, answer: httpx2.Response) -> None:
    assert answer.status_code == 400
    assert not dict(browser.cookies)
    assert browser.get("/api/v1/jobs").status_code == 401
    failed = site.failures()[-1]
    assert (failed.outcome, failed.user, failed.details["host"]) == ("refused", None, browser.host)
    assert failed.details["why"]


def test_the_answer_to_another_browsers_login_is_refused(
    provider: OpenIdProvider, site: OpenIdSite, browser: Browser
) -> None:
    mallory = person(provider, "mallory", "auditors")
    with Browser(site.url) as other:
        lure = consent(other.get("/login/openid"), mallory)

    begun_nothing = browser.get(lure)
    browser.get("/login/openid")
    begun_another = browser.get(lure)

    assert [begun_nothing.status_code, begun_another.status_code] == [400, 400]
    assert browser.get("/api/v1/jobs").status_code == 401


def test_a_stolen_code_is_of_no_use_in_another_login(
    provider: OpenIdProvider, site: OpenIdSite, browser: Browser
) -> None:
    anna = person(provider, "anna", "auditors")
    with Browser(site.url) as victim:
        stolen = httpx2.URL(consent(victim.get("/login/openid"), anna)).params["code"]

    state = httpx2.URL(browser.get("/login/openid").headers["location"]).params["state"]
    answer = browser.get("/login/openid/back", params={"code": stolen, "state": state})

    assert answer.status_code == 400
    assert site.failures()[-1].details["why"].endswith("invalid_grant")


def test_an_answer_counts_once(provider: OpenIdProvider, browser: Browser) -> None:
    back = consent(browser.get("/login/openid"), person(provider, "anna", "auditors"))

    answers = [browser.get(back), browser.get(back)]

    assert [answer.status_code for answer in answers] == [200, 400]


@pytest.mark.parametrize(
    "answered",
    [
        {"error": "access_denied"},
        {},
        {"code": "x" * 2001},
        {"code": "made-up"},
        {"code": "a", "iss": "https://evil.example"},
    ],
    ids=lambda one: ",".join(one) or "nothing",
)
def test_an_answer_without_a_good_code_begins_nothing(
    site: OpenIdSite, browser: Browser, provider: OpenIdProvider, answered: dict[str, str]
) -> None:
    state = httpx2.URL(browser.get("/login/openid").headers["location"]).params["state"]

    _check_refused(site, browser, browser.get("/login/openid/back", params={"state": state} | answered))


def test_a_person_reads_on_the_page_of_the_login_why_not(provider: OpenIdProvider, browser: Browser) -> None:
    back = consent(browser.get("/login/openid"), person(provider, "visitor"))

    sent = browser.get(back, headers={"Accept": "text/html"})
    page = browser.get(sent.headers["location"], headers={"Accept": "text/html"})

    assert "no role for you" in page.text
    assert "Sign in with the hospital&#39;s account" in page.text


def test_a_new_key_of_the_provider_is_taken_at_once(provider: OpenIdProvider, browser: Browser) -> None:
    anna = person(provider, "anna", "auditors")
    sign_in(browser, anna)

    provider.key = new_key("second")
    entered = sign_in(browser, anna)

    assert entered.status_code == 200


@pytest.mark.parametrize("roles", [None, [], {}, "staff", ["PACS-ADMINS"], [None, 1, ["auditors"]], {"auditors": True}])
def test_a_person_without_a_role_is_refused_by_name(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser, roles: object
) -> None:
    provider.changed = {"realm_access": {"roles": roles}}

    answer = sign_in(browser, person(provider, "visitor", "auditors"))

    assert answer.status_code == 403
    assert {"name": "oidc:visitor", "subject": "visitor"}.items() <= site.failures()[-1].details.items()
    with site.database.read() as session:
        assert users.get(session, "oidc:visitor") is None


def test_a_role_that_changed_counts_from_the_next_login_and_ends_the_other_sessions(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser
) -> None:
    eva = person(provider, "eva", "pacs-admins", "radiology")
    with Browser(site.url) as elsewhere:
        sign_in(elsewhere, eva)
        before = elsewhere.get("/api/v1/audit").status_code
        person(provider, "eva", "radiology")
        sign_in(browser, eva)
        after = elsewhere.get("/api/v1/jobs").status_code

    assert (before, after) == (200, 401)
    assert [browser.get(path).status_code for path in ("/api/v1/jobs", "/api/v1/audit")] == [200, 403]
    told = {"name": "oidc:eva", "key": "role", "former": "admin", "new": "viewer"}
    assert site.events(event="user changed")[-1].details == told


def test_who_lost_every_role_loses_the_sessions_too(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser
) -> None:
    former = person(provider, "former", "radiology")
    with Browser(site.url) as elsewhere:
        sign_in(elsewhere, former)
        person(provider, "former")
        refused = sign_in(browser, former)
        after = elsewhere.get("/api/v1/jobs").status_code

    assert (refused.status_code, after) == (403, 401)


def test_a_local_user_and_a_person_of_the_provider_never_take_each_others_place(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser
) -> None:
    with site.database.write() as session:
        local = User(name="nina", role="admin", password=passwords.hashed(PASSWORD), created_at=time.time())
        users.add(session, local, by="test")

    entered = sign_in(browser, person(provider, "nina", "radiology"))
    audited = browser.get("/api/v1/audit")
    with Browser(site.url, "127.0.2.1") as other:
        by_form = [other.log_in("oidc:nina", password).status_code for password in (PASSWORD, "", "None")]

    assert (entered.status_code, audited.status_code) == (200, 403)
    assert by_form == [401, 401, 401]


def test_another_person_with_a_name_that_was_met_before_is_refused(
    site: OpenIdSite, provider: OpenIdProvider, browser: Browser
) -> None:
    sign_in(browser, person(provider, "subject-1", "pacs-admins", name="karl"))
    browser.cookies.clear()

    answer = sign_in(browser, person(provider, "subject-2", "radiology", name="karl"))

    assert answer.status_code == 409
    assert site.failures()[-1].details["subject"] == "subject-2"


def test_w_16_guessed_answers_are_throttled_by_address(site: OpenIdSite, browser: Browser) -> None:
    answers = [browser.get("/login/openid/back", params={"code": "guess", "state": "guess"}) for _ in range(6)]
    with Browser(site.url, "127.0.2.2") as other:
        beside = other.get("/login/openid/back", params={"code": "guess", "state": "guess"})

    assert [answer.status_code for answer in answers] == [400] * 5 + [429]
    assert beside.status_code == 400
