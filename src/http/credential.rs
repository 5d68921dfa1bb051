use data_encoding::BASE64;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::malformed;
use crate::auth::{Credential, Flaw, Presented, split_user};

/// The headers that carry a credential, and the limit of its parts.
#[derive(Clone, Debug)]
pub struct CredentialHeaders {
    /// The header with the name; `X-Auth-Name` by default.
    pub name: HeaderName,
    /// The header with the realm; `X-Auth-Realm` by default.
    pub realm: HeaderName,
    /// The header with the token; `X-Auth-Token` by default.
    pub token: HeaderName,
    /// The maximum number of characters of a name, and of a realm.
    pub name_chars: usize,
}

/// A buffer for a decoded `Authorization: Basic`. Allocated only if needed, zeroed on drop.
#[derive(Default)]
pub struct Scratch(Zeroizing<Vec<u8>>);

impl Scratch {
    /// The maximum length: a name, a realm and a token of 128 four-byte characters each, `@` and
    /// `:`.
    const BYTES: usize = 3 * 128 * 4 + 2;
    /// The same in base64, which encodes 3 bytes as 4 characters.
    const LETTERS: usize = Self::BYTES.div_ceil(3) * 4;

    /// Makes an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }
}

impl CredentialHeaders {
    /// Reads the credential of a request: the three headers, or `Authorization: Basic` (RFC 7617)
    /// with the user `name@realm` and the token as password.
    ///
    /// Valid is exactly one kind, with each header exactly once. Other schemes of `Authorization`
    /// belong to the application and are ignored.
    pub fn read<'a>(&self, headers: &'a HeaderMap, scratch: &'a mut Scratch) -> Presented<'a> {
        let (fields, has_authorization) = self.fields(headers);
        let basic = match has_authorization {
            true => basic(headers),
            false => Ok(None),
        };
        self.present(fields, basic, scratch)
    }

    /// Reads the credential where `Authorization: Basic` may belong to another program, such as a
    /// front proxy: beside the three headers, it counts only if it could be a credential of
    /// realmgate.
    pub fn read_beside_others<'a>(
        &self,
        headers: &'a HeaderMap,
        scratch: &'a mut Scratch,
    ) -> Presented<'a> {
        let (fields, _) = self.fields(headers);
        let basic = if matches!(fields, Ok(Some(_))) && !self.is_credential(headers) {
            Ok(None)
        } else {
            basic(headers)
        };
        self.present(fields, basic, scratch)
    }

    /// Returns whether the request has a complete credential: the three headers, none of them
    /// empty, or an `Authorization` that could contain a token of realmgate.
    pub fn holds_credential(&self, headers: &HeaderMap) -> bool {
        let is_there = |name: &HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.any(|value| !value.as_bytes().trim_ascii().is_empty())
        };
        [&self.name, &self.realm, &self.token]
            .into_iter()
            .all(is_there)
            || self.is_credential(headers)
    }

    fn present<'a>(
        &self,
        fields: Result<Option<[&'a str; 3]>, Flaw>,
        basic: Result<Option<&'a [u8]>, Flaw>,
        scratch: &'a mut Scratch,
    ) -> Presented<'a> {
        let (fields, basic) = match (fields, basic) {
            (Ok(fields), Ok(basic)) => (fields, basic),
            (Err(flaw), _) | (_, Err(flaw)) => return Presented::Malformed(flaw),
        };
        match (fields, basic) {
            (None, None) => Presented::Absent,
            (Some(_), Some(_)) => Presented::Malformed(Flaw::TwoKinds),
            (Some([name, realm, token]), None) => {
                Credential::new(name, realm, token, self.name_chars).into()
            }
            (None, Some(letters)) => self.decode(letters, scratch).into(),
        }
    }

    /// Returns whether an `Authorization` header has the scheme Basic.
    pub fn is_basic(headers: &HeaderMap) -> bool {
        matches!(basic(headers), Ok(Some(_)) | Err(_))
    }

    /// Returns whether `Authorization` is well-formed and contains what could be a token of realmgate,
    /// even under a misspelled scheme.
    fn is_credential(&self, headers: &HeaderMap) -> bool {
        headers.get_all(AUTHORIZATION).iter().any(|value| {
            let letters = value.as_bytes().get("basic ".len()..).unwrap_or_default();
            let mut scratch = Scratch::new();
            self.decode(letters.trim_ascii(), &mut scratch)
                .is_ok_and(|credential| {
                    let token = credential.token().expose();
                    (6..=8).contains(&token.len())
                        && token.bytes().all(|byte| byte.is_ascii_digit())
                })
        })
    }

    /// Returns whether `Authorization` contains what could be a token of realmgate, even if it is
    /// malformed: `name@realm` and 6 to 8 digits. Other users and passwords belong to the
    /// application.
    pub fn holds_token(headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        values.any(|value| malformed::holds_token(value.as_bytes(), Scratch::LETTERS))
    }

    /// Returns the values of the three headers, `None` if none of them is present, and whether the
    /// request has an `Authorization`.
    ///
    /// One pass over all headers is cheaper than four lookups, each of which hashes a name.
    fn fields<'a>(&self, headers: &'a HeaderMap) -> (Result<Option<[&'a str; 3]>, Flaw>, bool) {
        let names = [&self.name, &self.realm, &self.token];
        let mut found = [None; 3];
        let (mut has_authorization, mut is_duplicate) = (false, false);
        for (name, value) in headers {
            let sought = found.iter_mut().zip(names);
            match sought.into_iter().find(|(_, sought)| name == *sought) {
                Some((found, _)) => is_duplicate |= found.replace(value).is_some(),
                None => has_authorization |= name == AUTHORIZATION,
            }
        }
        let fields = match is_duplicate {
            true => Err(Flaw::Duplicate),
            false => all_of(found),
        };
        (fields, has_authorization)
    }

    fn decode<'a>(&self, letters: &[u8], scratch: &'a mut Scratch) -> Result<Credential<'a>, Flaw> {
        if letters.len() > Scratch::LETTERS {
            return Err(Flaw::Encoding);
        }
        scratch.0 = Zeroizing::new(BASE64.decode(letters).map_err(|_| Flaw::Encoding)?);
        let decoded = text(&scratch.0)?;
        let (user, token) = decoded.split_once(':').ok_or(Flaw::Encoding)?;
        let (name, realm) = split_user(user)?;
        Credential::new(name, realm, token, self.name_chars)
    }
}

/// Returns the base64 text after `Basic`; `None` if no `Authorization` has that scheme.
fn basic(headers: &HeaderMap) -> Result<Option<&[u8]>, Flaw> {
    let mut found = None;
    let mut count = 0_usize;
    for value in headers.get_all(AUTHORIZATION) {
        count += 1;
        let value = value.as_bytes();
        let end = value
            .iter()
            .position(|&byte| byte == b' ' || byte == b'\t')
            .unwrap_or(value.len());
        let (scheme, rest) = value.split_at(end);
        if scheme.eq_ignore_ascii_case(b"basic") {
            found = Some(rest.trim_ascii());
        }
    }
    match found {
        Some(_) if count > 1 => Err(Flaw::Duplicate),
        other => Ok(other),
    }
}

/// Returns the values of three headers; `None` if none of them is present.
fn all_of(found: [Option<&HeaderValue>; 3]) -> Result<Option<[&str; 3]>, Flaw> {
    match found {
        [None, None, None] => Ok(None),
        [Some(name), Some(realm), Some(token)] => {
            Ok(Some([text_of(name)?, text_of(realm)?, text_of(token)?]))
        }
        _ => Err(Flaw::Partial),
    }
}

/// Returns the text of a header. Most are visible ASCII, which is faster to check.
fn text_of(value: &HeaderValue) -> Result<&str, Flaw> {
    value.to_str().or_else(|_| text(value.as_bytes()))
}

fn text(bytes: &[u8]) -> Result<&str, Flaw> {
    str::from_utf8(bytes).map_err(|_| Flaw::Encoding)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::auth::PrincipalError;

    fn read(fields: &[(&'static str, &[u8])]) -> Result<Option<[String; 3]>, Flaw> {
        let names = CredentialHeaders {
            name: HeaderName::from_static("x-auth-name"),
            realm: HeaderName::from_static("x-auth-realm"),
            token: HeaderName::from_static("x-auth-token"),
            name_chars: 128,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let mut scratch = Scratch::new();
        match names.read(&headers, &mut scratch) {
            Presented::Absent => Ok(None),
            Presented::Malformed(flaw) => Err(flaw),
            Presented::Credential(credential) => Ok(Some([
                credential.principal().name().to_owned(),
                credential.principal().realm().to_owned(),
                credential.token().expose().to_owned(),
            ])),
        }
    }

    fn basic(user_and_token: &str) -> Vec<u8> {
        format!("Basic {}", BASE64.encode(user_and_token.as_bytes())).into_bytes()
    }

    const FIELDS: [(&str, &[u8]); 3] = [
        ("x-auth-name", b"alice"),
        ("x-auth-realm", b"ops"),
        ("x-auth-token", b"123456"),
    ];

    fn alice() -> Result<Option<[String; 3]>, Flaw> {
        Ok(Some(["alice".into(), "ops".into(), "123456".into()]))
    }

    #[test]
    fn three_headers_are_a_credential() {
        assert_eq!(read(&FIELDS), alice());
    }

    #[test]
    fn basic_of_name_at_realm_is_a_credential() {
        assert_eq!(
            read(&[("authorization", &basic("alice@ops:123456"))]),
            alice()
        );
        let lower = b"bASIC   YWxpY2VAb3BzOjEyMzQ1Ng== ";
        assert_eq!(read(&[("authorization", lower)]), alice());
    }

    #[test]
    fn nothing_and_other_schemes_are_absent() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[("authorization", b"Bearer abc")]), Ok(None));
        assert_eq!(read(&[("authorization", b"")]), Ok(None));
    }

    #[test]
    fn other_scheme_beside_the_three_headers_belongs_to_the_application() {
        let mut fields = FIELDS.to_vec();
        fields.push(("authorization", b"Bearer abc"));
        assert_eq!(read(&fields), alice());
    }

    #[test]
    fn duplicate_header_is_no_credential() {
        for field in FIELDS {
            let mut fields = FIELDS.to_vec();
            fields.push(field);
            assert_eq!(read(&fields), Err(Flaw::Duplicate), "{}", field.0);
        }
        let one = basic("alice@ops:123456");
        for other in [&*one, b"Bearer abc", b""] {
            let both: [(_, &[u8]); 2] = [("authorization", &one), ("authorization", other)];
            assert_eq!(read(&both), Err(Flaw::Duplicate));
        }
    }

    #[test]
    fn missing_header_is_no_credential() {
        for at in 0..3 {
            let mut fields = FIELDS.to_vec();
            fields.remove(at);
            assert_eq!(read(&fields), Err(Flaw::Partial));
        }
    }

    #[test]
    fn two_kinds_are_no_credential() {
        let mut fields = FIELDS.to_vec();
        let value = basic("alice@ops:123456");
        fields.push(("authorization", &value));
        assert_eq!(read(&fields), Err(Flaw::TwoKinds));
    }

    #[test]
    fn broken_basic_is_no_credential() {
        for (value, flaw) in [
            (&b"Basic"[..], Flaw::Encoding),
            (b"Basic !!!", Flaw::Encoding),
            (b"Basic YWxpY2V", Flaw::Encoding),
            (b"Basic YWxpY2VAb3BzOjEyMzQ1Ng== x", Flaw::Encoding),
            (&basic("alice:123456"), Flaw::NoRealm),
            (&basic("alice@ops"), Flaw::Encoding),
            (&basic("alice@ops:"), Flaw::Token),
            (
                &basic("@ops:123456"),
                Flaw::Principal(PrincipalError::Empty("name")),
            ),
        ] {
            assert_eq!(read(&[("authorization", value)]), Err(flaw), "{value:?}");
        }
        let not_utf8 = format!("Basic {}", BASE64.encode(b"al\xff@ops:123456"));
        let read = read(&[("authorization", not_utf8.as_bytes())]);
        assert_eq!(read, Err(Flaw::Encoding));
    }

    #[test]
    fn longest_basic_fits_and_a_longer_one_is_rejected() {
        let part = "\u{1F600}".repeat(128);
        let longest = basic(&format!("{part}@{part}:{part}"));
        let expected = Ok(Some([part.clone(), part.clone(), part.clone()]));
        assert_eq!(read(&[("authorization", &longest)]), expected);
        let longer = basic(&format!("{part}@{part}:{part}x"));
        assert!(read(&[("authorization", &longer)]).is_err());
        let huge = vec![b'A'; 60_000];
        let huge = [b"Basic ".to_vec(), huge].concat();
        assert_eq!(read(&[("authorization", &huge)]), Err(Flaw::Encoding));
    }

    proptest::proptest! {
        #[test]
        fn sent_credential_is_read_unchanged(who in super::super::tricky(), token in "[0-9a]{1,9}") {
            let (name, realm) = who;
            let fields: [(_, &[u8]); 3] = [
                ("x-auth-name", name.as_bytes()),
                ("x-auth-realm", realm.as_bytes()),
                ("x-auth-token", token.as_bytes()),
            ];
            let sent = Ok(Some([name.clone(), realm.clone(), token.clone()]));
            let is_field = |text: &str| !text.contains('\u{1}');
            if is_field(&name) && is_field(&realm) {
                assert_eq!(read(&fields), sent);
            }
            // A colon, or an `@` in the realm, would split the user elsewhere.
            let value = basic(&format!("{name}@{realm}:{token}"));
            let is_basic = !name.contains(':') && !realm.contains([':', '@']);
            assert_eq!(read(&[("authorization", &value)]) == sent, is_basic);
        }
    }
}
