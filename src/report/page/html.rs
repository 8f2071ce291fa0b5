//! Text and tables of HTML; names come from users and are never markup.

use crate::report::picture::drawable;

/// Text for HTML and SVG, between tags and in quoted attributes. Characters that XML cannot hold become U+FFFD.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(drawable(c)),
        }
    }
    out
}

/// JSON inside a script element, which nothing in it can end.
pub(super) fn script(value: &serde_json::Value) -> String {
    value.to_string().replace('<', "\\u003c")
}

/// Numbers in rows, each with a name at its beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns and no rows.
    pub fn of(head: &[&str]) -> Self {
        Self { head: head.iter().map(|name| name.to_string()).collect(), rows: Vec::new() }
    }

    /// As HTML; `label` says what it holds.
    pub fn html(&self, label: &str) -> String {
        let mut out = format!(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{0}\"><table><thead><tr>",
            escape(label)
        );
        out.extend(self.head.iter().map(|name| format!("<th scope=\"col\">{}</th>", escape(name))));
        out += "</tr></thead><tbody>\n";
        for row in &self.rows {
            let cell = |(i, text): (usize, &String)| match i {
                0 => format!("<th scope=\"row\">{}</th>", escape(text)),
                _ => format!("<td>{}</td>", escape(text)),
            };
            out += "<tr>";
            out.extend(row.iter().enumerate().map(cell));
            out += "</tr>\n";
        }
        out + "</tbody></table></div>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_is_markup() {
        assert_eq!(escape("<b a=\"1\" b='2'>&\n\u{1}"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp; \u{FFFD}");
        assert_eq!(crate::report::picture::plain("a\u{0}<b>"), "a\u{FFFD}<b>");
        let table = Table { rows: vec![vec!["<i>".into(), "&".into()]], ..Table::of(&["\"", "b"]) };
        let html = table.html("x\">");
        for part in [
            "aria-label=\"x&quot;&gt;\"",
            "<th scope=\"col\">&quot;</th>",
            "<th scope=\"row\">&lt;i&gt;</th><td>&amp;</td>",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
    }

    #[test]
    fn nothing_in_json_ends_a_script() {
        let text = script(&serde_json::json!("</script><!--"));
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), "</script><!--");
    }
}
