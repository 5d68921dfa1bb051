//! Secrets that must not appear, in any encoding.

use std::process::Output;

use data_encoding::{BASE32_NOPAD, BASE64, BASE64URL, HEXLOWER, HEXUPPER};

/// Returns every form in which bytes could appear in a text: plain, base32, base64, hex,
/// percent-encoded, and as a list of numbers.
pub(super) fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let percent = |hex: String| -> String {
        let pairs = hex.as_bytes().chunks(2);
        pairs
            .map(|pair| format!("%{}", str::from_utf8(pair).unwrap()))
            .collect()
    };
    let mut texts = vec![
        BASE32_NOPAD.encode(secret),
        BASE32_NOPAD.encode(secret).to_lowercase(),
        HEXLOWER.encode(secret),
        HEXUPPER.encode(secret),
        percent(HEXLOWER.encode(secret)),
        percent(HEXUPPER.encode(secret)),
        format!("{secret:?}").trim_matches(['[', ']']).to_owned(),
    ];
    // At any offset in the encoded data.
    for before in 0..3 {
        let shifted = [&vec![0; before][..], secret].concat();
        for encoded in [BASE64.encode(&shifted), BASE64URL.encode(&shifted)] {
            let whole = encoded.trim_end_matches('=');
            texts.push(
                whole
                    .get((before * 4).div_ceil(3)..whole.len() - 1)
                    .unwrap()
                    .to_owned(),
            );
        }
    }
    let mut forms: Vec<_> = texts.into_iter().map(String::into_bytes).collect();
    forms.push(secret.to_vec());
    forms
}

/// The secrets that must not appear.
pub(super) struct Secrets {
    pub(super) forms: Vec<Vec<u8>>,
    /// Tokens are short: they count only without adjacent digits.
    pub(super) tokens: Vec<String>,
}

impl Secrets {
    pub(super) fn assert_not_in(&self, place: &str, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        for form in &self.forms {
            let at = bytes.windows(form.len()).position(|it| it == form);
            assert!(
                at.is_none(),
                "{place} holds {:?}: {text}",
                String::from_utf8_lossy(form)
            );
        }
        for token in &self.tokens {
            let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
            let found = bytes.windows(token.len()).enumerate().any(|(at, it)| {
                it == token.as_bytes()
                    && !is_digit(at.checked_sub(1).and_then(|at| bytes.get(at)))
                    && !is_digit(bytes.get(at + token.len()))
            });
            assert!(!found, "{place} holds the token {token}: {text}");
        }
    }

    pub(super) fn assert_not_said(&self, what: &str, output: &Output) {
        self.assert_not_in(&format!("standard output of {what}"), &output.stdout);
        self.assert_not_in(&format!("standard error of {what}"), &output.stderr);
    }
}
