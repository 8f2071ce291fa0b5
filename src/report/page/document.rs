//! The page itself: everything in one file.

use super::colour::dark_rules;
use super::html::escape;
use super::runs::Group;
use super::section::Section;
use super::summary;
use crate::Result;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The whole page.
///
/// # Errors
/// [`crate::Error::Config`] where settings cannot be written.
pub(super) fn document(groups: &[Group], sections: &[Section]) -> Result<String> {
    let title = title(groups);
    let links: String = sections
        .iter()
        .map(|section| (section.id, section.title))
        .chain([("settings", "Settings")])
        .map(|(id, title)| format!("<li><a href=\"#{id}\">{title}</a></li>"))
        .collect();
    let sections: String = sections.iter().map(|section| section.html(groups)).collect();
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>\n{STYLE}@media screen and (prefers-color-scheme: dark) {{\n{}}}\n</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">To the figures</a>\n\
         <header>\n<h1>{title}</h1>\n<p>{}</p>\n{}\n\
         <nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n{}</header>\n\
         <main id=\"main\">\n{sections}{}</main>\n\
         <footer><p>Point at a figure, or focus it and use the arrow keys, to read its numbers. Made by minoise {}.</p></footer>\n\
         <div id=\"tip\" role=\"status\" aria-live=\"polite\" hidden></div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
        dark_rules(),
        escape(&summary::subject(groups)),
        summary::table(groups).html("What the runs came to"),
        choice(groups),
        summary::repeated(groups)?,
        env!("CARGO_PKG_VERSION"),
    ))
}

/// What the page is of, escaped.
pub(super) fn title(groups: &[Group]) -> String {
    let what = match groups {
        [group] => group.name.clone(),
        groups => format!("{} settings", groups.len()),
    };
    escape(&format!("minoise: {what} on {}", groups[0].first().config.data))
}

/// Which group the figures of single groups are of, where there are many; nothing where all are shown.
fn choice(groups: &[Group]) -> String {
    if groups.len() < 2 {
        return String::new();
    }
    let first = if shown(groups, 1) { 0 } else { 1 };
    let option = |(i, name): (usize, &str)| {
        let (value, selected) = if i == 0 { (String::new(), first == 0) } else { ((i - 1).to_string(), first == i) };
        let selected = if selected { " selected" } else { "" };
        format!("<option value=\"{value}\"{selected}>{}</option>", escape(name))
    };
    let names = std::iter::once("all").chain(groups.iter().map(|group| group.name.as_str()));
    let options: String = names.enumerate().map(option).collect();
    format!(
        "<p class=\"scripted\" hidden><label>Figures of single settings: <select id=\"group\">{options}</select></label></p>\n"
    )
}

/// Whether figures of a group are shown at first.
pub(super) fn shown(groups: &[Group], of: usize) -> bool {
    groups.len() <= 2 || of == 0
}
