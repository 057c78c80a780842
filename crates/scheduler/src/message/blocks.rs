//! Block Kit: one section per onboarding with its *Open* button, under one header; several messages when one is full.
//!
//! Laws: a message has at most 50 blocks and a section at most 3,000 characters, or Slack refuses it whole. Texts
//! are `verbatim`: Slack makes no links or mentions of what merely looks like one.

use serde_json::{Value, json};

use super::SlackBody;

/// Longest fallback text, in characters.
pub(super) const FALLBACK: usize = 1_000;
/// Blocks of a message, the header among them.
const BLOCKS: usize = 50;
/// Characters of a section's text; Slack allows 3,000.
const SECTION: usize = 2_900;
/// Characters of all sections of a message. Slack has such a limit (`msg_blocks_too_long`) and does not say which;
/// messages below this pass.
const TOTAL: usize = 12_000;

/// An onboarding, ready to be put into a message.
pub(super) struct Section {
    block: Value,
    size: usize,
    item: usize,
}

pub(super) fn section(text: &str, link: Option<&str>, item: usize) -> Section {
    let text = cut_escaped(text.trim(), SECTION);
    let size = text.chars().count();
    let mut block = json!({
        "type": "section",
        "text": { "type": "mrkdwn", "text": text, "verbatim": true },
    });
    if let Some(link) = link {
        block["accessory"] = json!({
            "type": "button",
            "action_id": format!("open:{item}"),
            "text": { "type": "plain_text", "text": "Open" },
            "url": link,
        });
    }
    Section { block, size, item }
}

pub(super) fn pages(text: &str, header: &str, sections: Vec<Section>) -> Vec<SlackBody> {
    let header = cut_escaped(header.trim(), SECTION);
    let mut pages: Vec<(Vec<Value>, Vec<usize>, usize)> = Vec::new();
    for section in sections {
        match pages.last_mut() {
            Some((blocks, items, size)) if blocks.len() < BLOCKS - 1 && *size + section.size <= TOTAL => {
                blocks.push(section.block);
                items.push(section.item);
                *size += section.size;
            }
            Some(_) | None => pages.push((vec![section.block], vec![section.item], section.size)),
        }
    }
    let count = pages.len();
    let numbered = pages.into_iter().enumerate().map(|(at, (blocks, items, _))| {
        let mark = if count > 1 { format!(" ({}/{count})", at + 1) } else { String::new() };
        let title = json!({
            "type": "section",
            "text": { "type": "mrkdwn", "text": format!("{header}{mark}"), "verbatim": true },
        });
        SlackBody {
            text: format!("{text}{mark}"),
            blocks: std::iter::once(title).chain(blocks).collect(),
            items,
        }
    });
    numbered.collect()
}

/// Cuts escaped text without leaving half of an `&amp;` at its end.
fn cut_escaped(text: &str, max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(max) else {
        return text.to_owned();
    };
    let kept = &text[..end];
    let whole = match kept.rfind('&') {
        Some(at) if !kept[at..].contains(';') => &kept[..at],
        Some(_) | None => kept,
    };
    format!("{whole}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_escape_is_never_cut_in_two() {
        assert_eq!(cut_escaped("abc&amp;def", 6), "abc…");
        assert_eq!(cut_escaped("abc&amp;def", 8), "abc&amp;…");
        assert_eq!(cut_escaped("abc", 3), "abc");
    }
}
