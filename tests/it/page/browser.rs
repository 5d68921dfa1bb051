//! A browser without a screen: keeps the cookie, and sends what a browser sends.

use form_urlencoded::Serializer;

use crate::harness::{Caller, Gate, Reply, raw};

/// A configuration with the admin page.
pub(crate) const ADMIN: &str = "[admin]\nlisten = \"127.0.0.1:0\"\n";

/// A browser at the admin page of a gate.
pub(crate) struct Browser<'a> {
    gate: &'a Gate,
    pub(crate) cookie: Option<String>,
}

impl<'a> Browser<'a> {
    pub(crate) fn of(gate: &'a Gate) -> Self {
        Self { gate, cookie: None }
    }

    /// Logs in with a token.
    pub(crate) fn log_in(gate: &'a Gate, who: &Caller) -> Self {
        let mut browser = Self::of(gate);
        let reply = browser.try_to_log_in(who, &who.token());
        assert_eq!(reply.status, 303, "{reply:?}");
        assert!(browser.cookie.is_some());
        browser
    }

    pub(crate) fn try_to_log_in(&mut self, who: &Caller, token: &str) -> Reply {
        self.post("/login", &[("name", &who.name), ("token", token)])
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://{}", self.gate.admin.unwrap())
    }

    pub(crate) fn get(&mut self, path: &str) -> Reply {
        self.send("GET", path, "", "")
    }

    /// Gets a page that is there.
    pub(crate) fn read(&mut self, path: &str) -> String {
        let reply = self.get(path);
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        reply.body
    }

    pub(crate) fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Reply {
        let own = format!(
            "Origin: {}\r\nSec-Fetch-Site: same-origin\r\n",
            self.origin()
        );
        self.post_from(&own, path, fields)
    }

    /// Sends a form with these headers instead of those of the page's own origin.
    pub(crate) fn post_from(
        &mut self,
        headers: &str,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Reply {
        let mut body = Serializer::new(String::new());
        body.extend_pairs(fields);
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.send("POST", path, &format!("{kind}{headers}"), &body.finish())
    }

    /// Returns the version of an identity that its page has.
    pub(crate) fn version(&mut self, path: &str) -> String {
        let page = self.read(path);
        let (_, version) = page.split_once("name=\"version\" value=\"").unwrap();
        let version = version.split('"').next().unwrap();
        version.replace("&#34;", "\"")
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Reply {
        let cookie = self.cookie.as_ref();
        let cookie = cookie.map(|it| format!("Cookie: rg={it}\r\n"));
        let host = self.gate.admin.unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {}\r\n{}{headers}\r\n{body}",
            body.len(),
            cookie.unwrap_or_default()
        );
        let reply = raw(host, request.as_bytes());
        if let Some(set) = reply.field("Set-Cookie") {
            let value = set.strip_prefix("rg=").unwrap();
            let value = value.split(';').next().unwrap();
            self.cookie = Some(value.to_owned()).filter(|it| !it.is_empty());
        }
        reply
    }

    /// Returns whether the session is open.
    pub(crate) fn is_in(&mut self) -> bool {
        let cookie = self.cookie.clone();
        let reply = self.get("/identities");
        self.cookie = cookie;
        match reply.status {
            200 => true,
            401 => false,
            _ => panic!("{reply:?}"),
        }
    }
}

/// Returns the value of an input or a text area of a page.
pub(crate) fn value(page: &str, id: &str) -> String {
    let (_, rest) = page.split_once(&format!("id=\"{id}\"")).unwrap();
    let tag = rest.split_once('>').unwrap().0;
    let text = match tag.split_once("value=\"") {
        Some((_, value)) => value.split('"').next().unwrap(),
        None => rest
            .split_once('>')
            .unwrap()
            .1
            .split("</textarea>")
            .next()
            .unwrap(),
    };
    let text = text.replace("&#38;", "&").replace("&#34;", "\"");
    text.replace("&#39;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
}

/// Returns the address to which a page links as its next or previous one.
pub(crate) fn link(page: &str, relation: &str) -> Option<String> {
    let (_, rest) = page.split_once(&format!("rel=\"{relation}\" href=\""))?;
    Some(rest.split('"').next()?.replace("&#38;", "&"))
}
