"""Tokens, seeds, otpauth URLs and identity headers: the vectors that Rust is tested with too."""

import json

import pytest

from harness import ROOT
from realmgate import ConfigurationError, Identity, Parameters, Seed, SeedError
from realmgate.identity import decode, encode
from realmgate.totp import parse_otpauth


def vectors(name):
    return json.loads((ROOT / f"tests/vectors/{name}.json").read_text())


def test_tokens_are_those_of_the_rfcs():
    found = vectors("totp")["tokens"]
    assert len(found) > 50
    for row in found:
        parameters = Parameters(row["algorithm"], row["digits"], row["period"])
        assert Seed.from_base32(row["seed"]).token(parameters, row["time"]) == row["token"], row
        # Within the step, with fractions of a second.
        assert Seed.from_base32(row["seed"]).token(parameters, row["time"] + 0.9) == row["token"], row


def test_seeds_are_read_as_realmgate_reads_them():
    found = vectors("seeds")
    for row in found["valid"]:
        assert Seed.from_base32(row["text"]) == Seed(bytes.fromhex(row["hex"])), row
    for text in found["invalid"]:
        with pytest.raises(SeedError) as error:
            Seed.from_base32(text)
        assert len(text) < 9 or text not in str(error.value)


def test_otpauth_urls_are_read_or_rejected():
    found = vectors("otpauth")
    for row in found["valid"]:
        parsed = parse_otpauth(row["url"])
        assert (parsed.name, parsed.realm) == (row["name"], row["realm"]), row
        assert parsed.seed == Seed.from_base32(row["seed"])
        assert parsed.parameters == Parameters(row["algorithm"], row["digits"], row["period"]), row
    for row in found["invalid"]:
        with pytest.raises(SeedError) as error:
            parse_otpauth(row["url"])
        assert "GEZD" not in str(error.value), row


def test_identities_are_written_as_realmgate_writes_them():
    found = vectors("identities")["identities"]
    for row in found:
        identity = Identity(row["name"], row["realm"])
        assert encode(row["name"]) == row["x_auth_name"]
        assert encode(row["realm"]) == row["x_auth_realm"]
        assert identity.user == row["x_forwarded_user"]
        assert decode(row["x_auth_name"]) == row["name"]
        assert decode(row["x_auth_realm"]) == row["realm"]
    assert len({row["x_forwarded_user"] for row in found}) == len(found)


@pytest.mark.parametrize("value", ["", "a b", "%61", "caf%c3%a9", "%", "%zz", "%C3", "é", "a\n", "x" * 1537, "%00a" * 400])
def test_other_spellings_are_no_identity(value):
    assert decode(value) is None


@pytest.mark.parametrize("name", ["", " a", "a ", "a\0b", "x" * 129, "\ud800", None])
def test_impossible_names_are_rejected(name):
    with pytest.raises(ConfigurationError):
        Identity(name, "r")
    with pytest.raises(ConfigurationError):
        Identity("n", name)


@pytest.mark.parametrize(
    "wrong", [{"algorithm": "MD5"}, {"digits": 5}, {"digits": 9}, {"digits": True}, {"period": 0}, {"period": 3601}]
)
def test_parameters_outside_of_their_range_are_rejected(wrong):
    with pytest.raises(ConfigurationError):
        Parameters(**wrong)


def test_parameters_at_their_bounds_are_accepted():
    for digits in (6, 8):
        for period in (1, 3600):
            assert Parameters("sha512", digits, period).algorithm == "SHA512"


def test_time_before_1970_is_an_error():
    with pytest.raises(ConfigurationError):
        Seed(b"x").token(Parameters(), -1)
    assert len(Seed(b"x").token(Parameters(), 0)) == 6


def test_nothing_shows_a_seed():
    seed = Seed(b"secret seed")
    parsed = parse_otpauth("otpauth://totp/a@b?secret=ONSWG4TFOQ")
    for shown in (repr(seed), str(seed), repr(parsed), str(parsed)):
        assert "secret" not in shown.replace("redacted", "") and "ONSWG4" not in shown
