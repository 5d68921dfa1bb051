//! Style and script, compiled in. Their names contain a hash of their contents, so that browsers
//! may keep them for ever.

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");

/// The names of the assets.
pub(super) struct Assets {
    pub(super) style: String,
    pub(super) script: String,
    pub(super) icon: String,
}

impl Assets {
    pub(super) fn new() -> Self {
        let named = |name: &str, text: &str| {
            let hash = HEXLOWER.encode(&Sha256::digest(text));
            let hash: String = hash.chars().take(16).collect();
            format!("{hash}.{name}")
        };
        Self {
            style: named("style.css", STYLE),
            script: named("page.js", SCRIPT),
            icon: named("icon.svg", ICON),
        }
    }

    /// Returns the text and the media type of an asset.
    pub(super) fn find(&self, name: &str) -> Option<(&'static str, &'static str)> {
        match name {
            name if name == self.style => Some((STYLE, "text/css; charset=utf-8")),
            name if name == self.script => Some((SCRIPT, "text/javascript; charset=utf-8")),
            name if name == self.icon => Some((ICON, "image/svg+xml")),
            _ => None,
        }
    }
}
