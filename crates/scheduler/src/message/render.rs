//! From data to words: picks the templates of a message, renders them, and holds the results to the media's limits.

use minijinja::value::{Serde, Value};
use serde::Serialize;
use usher_lifecycle::reminder::Kind;

use super::{Message, Templates, blocks, clean, view};

/// Longest subject, in characters: mail programs show some 60, phones 40.
const SUBJECT: usize = 160;

/// An email, still without addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailBody {
    /// One line.
    pub subject: String,
    /// The plain text alternative.
    pub text: String,
    /// The HTML alternative.
    pub html: String,
}

/// One Slack message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackBody {
    /// What notifications show; escaped.
    pub text: String,
    /// Block Kit, at most 50 blocks.
    pub blocks: serde_json::Value,
    /// Which of the message's items it shows: positions in [`Message::items`].
    pub items: Vec<usize>,
}

/// Why a message cannot be rendered.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A template failed.
    #[error("template {name} cannot be rendered")]
    Template {
        /// Which.
        name: &'static str,
        /// What and where.
        source: minijinja::Error,
    },
    /// The link of an item is no http or https URL.
    #[error("the link of an onboarding is no http or https URL")]
    Link,
    /// There is nothing to say.
    #[error("a message needs at least one onboarding")]
    Empty,
    /// Customers are written to by email only.
    #[error("customers are written to by email only")]
    CustomerBySlack,
}

impl Templates {
    /// The message as an email; the same for the same message.
    pub fn email(&self, message: &Message) -> Result<EmailBody, RenderError> {
        if message.items.is_empty() {
            return Err(RenderError::Empty);
        }
        let order = view::order(&message.items);
        let (view, [subject, text, html]) = match message.kind {
            Kind::Cadence | Kind::Manual | Kind::Escalation => (
                Value::from(Serde(view::team(message, &order)?)),
                ["email/subject.txt", "email/body.txt", "email/body.html"],
            ),
            Kind::Customer => (
                Value::from(Serde(view::customer(message, &order))),
                ["email/customer_subject.txt", "email/customer.txt", "email/customer.html"],
            ),
        };
        Ok(EmailBody {
            subject: clean::rendered_line(&self.render(subject, &view)?, SUBJECT),
            text: self.render(text, &view)?,
            html: self.render(html, &view)?,
        })
    }

    /// The message for Slack: several if the onboardings do not fit into one.
    pub fn slack(&self, message: &Message) -> Result<Vec<SlackBody>, RenderError> {
        match message.kind {
            Kind::Cadence | Kind::Manual | Kind::Escalation => {}
            Kind::Customer => return Err(RenderError::CustomerBySlack),
        }
        if message.items.is_empty() {
            return Err(RenderError::Empty);
        }
        let order = view::order(&message.items);
        let view = view::team(message, &order)?;
        let whole = Value::from(Serde(&view));
        let text = clean::rendered_line(&self.render("slack/text.txt", &whole)?, blocks::FALLBACK);
        let header = self.render("slack/header.txt", &whole)?;
        let mut sections = Vec::with_capacity(order.len());
        for (item, &at) in view.items.iter().zip(&order) {
            let words =
                self.render("slack/item.txt", &Value::from(Serde(One { kind: message.kind, item })))?;
            sections.push(blocks::section(&words, item.link.as_deref(), at));
        }
        Ok(blocks::pages(&text, &header, sections))
    }

    fn render(&self, name: &'static str, view: &Value) -> Result<String, RenderError> {
        self.engine
            .get_template(name)
            .and_then(|template| template.render(view.clone()))
            .map_err(|source| RenderError::Template { name, source })
    }
}

#[derive(Serialize)]
struct One<'a> {
    kind: Kind,
    item: &'a view::TeamItem,
}
