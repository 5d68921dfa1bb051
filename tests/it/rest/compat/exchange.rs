//! The recorded exchanges in `transcripts.txt`.

/// A request and its response.
#[derive(Clone, Debug)]
pub(super) struct Exchange {
    /// The heading: a number and a title.
    pub(super) title: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) content_type: Option<String>,
    pub(super) body: String,
    pub(super) status: u16,
    /// The headers of the response.
    pub(super) fields: Vec<(String, String)>,
    pub(super) answer: String,
}

impl Exchange {
    /// Returns the value of a response header.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| &**value)
    }

    /// Returns the request headers beside `Content-Type`, which the record describes in words.
    pub(super) fn sent_fields(&self) -> &'static str {
        match self.number() {
            "F10" | "G56" => "Accept: text/html\r\n",
            "F11" => "Accept: application/xml\r\n",
            "F14" => "Accept: application/json; indent=2\r\n",
            "F15" => "X-HTTP-Method-Override: GET\r\n",
            _ => "",
        }
    }

    /// Returns the section and number of the exchange.
    pub(super) fn number(&self) -> &str {
        self.title.split(' ').next().unwrap()
    }

    /// Returns by how many steps the subject's token was off.
    pub(super) fn offset(&self) -> Option<i64> {
        let steps = self.title.strip_prefix("A13 window ")?;
        steps.split(' ').next()?.parse().ok()
    }
}

/// Returns every exchange of a section such as `A`, in order; of all sections for `None`.
pub(super) fn recorded(section: Option<char>) -> Vec<Exchange> {
    let text = include_str!("transcripts.txt");
    let blocks = text.split("\n### ").skip(1);
    blocks
        .filter(|block| section.is_none_or(|section| block.starts_with(section)))
        .map(read)
        .collect()
}

fn read(block: &str) -> Exchange {
    let (title, rest) = block.split_once('\n').unwrap();
    let (asked, answered) = rest.split_once("\n< HTTP/1.1 ").unwrap();
    let mut asked = asked.lines().map(|line| line.strip_prefix("> ").unwrap());
    let request = asked.next().unwrap();
    let mut words = request.split(' ');
    let body = match asked.next().unwrap() {
        "(no body)" => String::new(),
        body => whole(title, body),
    };
    let mut lines = answered.lines();
    let status = lines.next().unwrap().split(' ').next().unwrap();
    let status = status.parse().unwrap();
    let mut fields = Vec::new();
    let mut answer = Vec::new();
    for line in lines {
        let is_over = line.is_empty() || line.starts_with('#');
        if is_over {
            break;
        }
        let text = line.strip_prefix("< ");
        match text.and_then(|text| text.split_once(": ")) {
            Some((name, value)) if answer.is_empty() && !name.contains(['{', '[', '<']) => {
                fields.push((name.to_owned(), value.to_owned()));
            }
            _ => answer.push(text.unwrap_or(line)),
        }
    }
    let answer = answer.join("\n");
    Exchange {
        title: title.to_owned(),
        method: words.next().unwrap().to_owned(),
        path: words.next().unwrap().to_owned(),
        content_type: words
            .next()
            .map(|word| word.trim_matches(['[', ']']).into()),
        body,
        status,
        fields,
        answer: if answer.starts_with("(empty body)") {
            String::new()
        } else {
            answer
        },
    }
}

/// Three long bodies are truncated in the record: `…[903 chars]`. Their titles describe them.
fn whole(title: &str, body: &str) -> String {
    let Some((start, length)) = body.split_once("…[") else {
        return body.to_owned();
    };
    let field = title.split(' ').nth(1).unwrap();
    let value = |name, value: &str| {
        if name == field {
            r"\u00e9".repeat(128)
        } else {
            value.to_owned()
        }
    };
    let whole = format!(
        r#"{{"auth_name": "auth", "auth_realm": "ungleich-auth", "auth_token": "478165", "name": "{}", "realm": "{}", "token": "{}"}}"#,
        value("name", "user"),
        value("realm", "ungleich-intern"),
        value("token", "535318"),
    );
    assert!(whole.starts_with(start), "{title}");
    let length = length.strip_suffix(" chars]").unwrap();
    assert_eq!(whole.len(), length.parse::<usize>().unwrap(), "{title}");
    whole
}

#[test]
fn record_holds_176_exchanges() {
    let exchanges = recorded(None);
    assert_eq!(exchanges.len(), 176);
    for exchange in &exchanges {
        assert!(exchange.path.starts_with('/'), "{exchange:?}");
        assert!((200..=500).contains(&exchange.status), "{exchange:?}");
        let has_type = exchange.field("Content-Type").is_some();
        assert!(has_type || exchange.status == 204, "{exchange:?}");
    }
}
