//! A series as a test names it: `name{label="value"}`, in any order, with any
//! of its labels.

/// What is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
}

impl Query {
    /// Reads one; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| format!("{text:?} names no series: {what}; write name{{label=\"value\"}}");
        let (name, rest) = text.split_once('{').unwrap_or((text, "}"));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(wrong("it begins with no name"));
        }
        let mut rest = rest.trim();
        let mut labels = Vec::new();
        while let Some((label, after)) = rest.split_once('=').filter(|_| !rest.starts_with('}')) {
            let quoted =
                after.trim_start().strip_prefix('"').ok_or_else(|| wrong("a value has no quotes"))?;
            let (value, after) = unquote(quoted).ok_or_else(|| wrong("a quote is left open"))?;
            labels.push((label.trim().to_owned(), value));
            let after = after.trim_start();
            rest = after.strip_prefix(',').unwrap_or(after).trim_start();
        }
        if rest != "}" {
            return Err(wrong("it does not end in a brace"));
        }
        Ok(Self { name: name.to_owned(), labels })
    }
}

/// The value up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_read() {
        let read = |text: &str| Query::parse(text).unwrap();
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        assert_eq!(read("m"), Query { name: "m".to_owned(), labels: vec![] });
        assert_eq!(read("m{}").labels, []);
        assert_eq!(
            read(r#"m{a="x=\"}{,\\\n", b = "" ,}"#).labels,
            labels(&[("a", "x=\"}{,\\\n"), ("b", "")])
        );
    }

    #[test]
    fn what_is_none_is_said() {
        for wrong in ["", "{a=\"b\"}", "m{", "m{a}", "m{a=b}", "m{a=\"b}", "m{a=\"b\"} 1", "m 1"] {
            assert!(Query::parse(wrong).unwrap_err().contains("names no series"), "{wrong}");
        }
    }
}
