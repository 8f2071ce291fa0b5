//! A part of the page: a title, what it shows, its figures.

use std::fmt::Write as _;

use super::document::shown;
use super::figure::Figure;
use super::html::{escape, script};
use super::runs::Group;
use crate::Result;

/// A part of the page.
#[derive(Debug)]
pub(super) struct Section {
    pub id: &'static str,
    pub title: &'static str,
    pub lead: String,
    pub figures: Vec<Figure>,
    /// What is said where there is no figure.
    pub missing: &'static str,
}

/// Those figures that there are.
pub(super) fn each(figures: impl Iterator<Item = Result<Option<Figure>>>) -> Result<Vec<Figure>> {
    figures.filter_map(Result::transpose).collect()
}

impl Section {
    /// As HTML.
    pub fn html(&self, groups: &[Group]) -> String {
        let Self { id, title, lead, .. } = self;
        // Figures side by side want the whole width.
        let shown = self.figures.iter().filter(|figure| figure.of.is_none_or(|of| shown(groups, of))).count();
        let class = if shown > 1 { " class=\"wide\"" } else { "" };
        let mut out = format!(
            "<section id=\"{id}\"{class} aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n"
        );
        if self.figures.is_empty() {
            let _ = write!(out, "<p class=\"missing\">{}</p>\n</section>\n", self.missing);
            return out;
        }
        let _ = writeln!(out, "<p>{lead}</p>\n<div class=\"figures\">");
        out.extend(self.figures.iter().map(|figure| self.figure(figure, groups)));
        out + "</div>\n</section>\n"
    }

    fn figure(&self, figure: &Figure, groups: &[Group]) -> String {
        let name = figure.of.filter(|_| groups.len() > 1).map(|of| groups[of].name.as_str());
        let label = name.map_or_else(|| figure.label.clone(), |name| format!("{}: {name}", figure.label));
        let of = figure.of.map_or(String::new(), |of| format!(" data-group=\"{of}\""));
        let caption = name.map_or(String::new(), |name| format!("<span class=\"name\">{}</span>", escape(name)));
        let orders = match figure.orders.as_slice() {
            [] => String::new(),
            orders => {
                let option = |order: &&str| format!("<option>{order}</option>");
                let options: String = orders.iter().map(option).collect();
                format!("<label class=\"scripted\" hidden>Classes <select class=\"orders\">{options}</select></label>")
            }
        };
        let caption = match caption + &orders {
            caption if caption.is_empty() => caption,
            caption => format!("<figcaption>{caption}</figcaption>\n"),
        };
        // The document of the figure, as a part of the page that can be told and focused.
        let label = escape(&label);
        let svg = figure.svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1);
        format!(
            "<figure{of}>\n{caption}{svg}<script type=\"application/json\">{}</script>\n\
             <div class=\"foot\"><details><summary>Numbers</summary>{}</details></div>\n</figure>\n",
            script(&figure.found),
            figure.table.html(&label_of(&figure.label, name))
        )
    }
}

fn label_of(label: &str, name: Option<&str>) -> String {
    name.map_or_else(|| format!("Numbers: {label}"), |name| format!("Numbers: {label}, {name}"))
}
