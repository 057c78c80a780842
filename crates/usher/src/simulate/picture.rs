//! The load over the days as a picture: a bar a day, email below, Slack on top, days without messages in grey, a dot over
//! those with escalations.

use std::fmt::Write as _;

use chrono::{Datelike as _, Weekday};

use super::{
    forecast::Forecast,
    report::{Day, days, escalations, people},
};

const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 50.0;
const RIGHT: f64 = 20.0;
/// People in the page's table.
const PEOPLE: usize = 200;

/// The picture, for itself.
pub(super) fn svg(forecast: &Forecast) -> String {
    let days = days(forecast);
    let most = rounded_up(days.values().map(Day::messages).max().unwrap_or(0));
    let (plot_width, plot_height) = (WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM);
    let step = plot_width / count(days.len().max(1));
    let height = |messages: usize| count(messages) / count(most) * plot_height;
    let floor = TOP + plot_height;
    let mut out = String::new();
    let mut put = |text: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{text}");
    };
    put(format_args!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="system-ui, sans-serif" font-size="12" role="img" aria-label="Messages per day">"#
    ));
    put(format_args!(r##"<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>"##));
    put(format_args!(
        r##"<text x="{LEFT}" y="24" font-size="16" font-weight="600" fill="#1c2733">{} messages, {} to {}</text>"##,
        forecast.sent.len(),
        forecast.from,
        forecast.until
    ));
    for (x, color, name) in [(LEFT, "#2f6fb3", "email"), (LEFT + 80.0, "#e08a2e", "Slack")] {
        put(format_args!(r#"<rect x="{x}" y="34" width="12" height="12" fill="{color}"/>"#));
        put(format_args!(r##"<text x="{}" y="44" fill="#1c2733">{name}</text>"##, x + 18.0));
    }
    let escalated = escalations(forecast);
    if escalated > 0 {
        let x = LEFT + 160.0;
        put(format_args!(r##"<circle cx="{}" cy="40" r="4" fill="#c03a2b"/>"##, x + 6.0));
        put(format_args!(
            r##"<text x="{}" y="44" fill="#1c2733">escalations: {escalated}</text>"##,
            x + 18.0
        ));
    }
    for quarter in 0..=4_usize {
        let messages = most * quarter / 4;
        let y = floor - height(messages);
        put(format_args!(
            r##"<line x1="{LEFT}" x2="{}" y1="{y:.1}" y2="{y:.1}" stroke="#dfe5ea"/>"##,
            WIDTH - RIGHT
        ));
        put(format_args!(
            r##"<text x="{}" y="{:.1}" text-anchor="end" fill="#5b6b7a">{messages}</text>"##,
            LEFT - 8.0,
            y + 4.0
        ));
    }
    for (place, (date, day)) in days.iter().enumerate() {
        let x = LEFT + step * count(place);
        if day.messages() == 0 {
            put(format_args!(
                r##"<rect x="{x:.1}" y="{TOP}" width="{step:.1}" height="{plot_height}" fill="#f4f6f8"/>"##
            ));
        }
        let (email, slack) = (height(day.email), height(day.slack));
        let (left, wide) = (x + step * 0.1, step * 0.8);
        let dot = day.escalations > 0;
        let of_them = if dot { format!(", escalations: {}", day.escalations) } else { String::new() };
        put(format_args!(
            "<g><title>{date}: {} by email, {} by Slack{of_them}</title>",
            day.email, day.slack
        ));
        if dot {
            put(format_args!(
                r##"<circle cx="{:.1}" cy="{:.1}" r="4" fill="#c03a2b"/>"##,
                x + step / 2.0,
                floor - email - slack - 6.0
            ));
        }
        put(format_args!(
            r##"<rect x="{left:.1}" y="{:.1}" width="{wide:.1}" height="{email:.1}" fill="#2f6fb3"/>"##,
            floor - email
        ));
        put(format_args!(
            r##"<rect x="{left:.1}" y="{:.1}" width="{wide:.1}" height="{slack:.1}" fill="#e08a2e"/></g>"##,
            floor - email - slack
        ));
        let marked =
            if days.len() > 45 { date.weekday() == Weekday::Mon && place % 14 < 7 } else { place % 7 == 0 };
        if marked {
            put(format_args!(
                r##"<text x="{:.1}" y="{}" text-anchor="middle" fill="#5b6b7a">{}</text>"##,
                x + step / 2.0,
                floor + 18.0,
                date.format("%d %b")
            ));
        }
    }
    put(format_args!(
        r##"<line x1="{LEFT}" x2="{}" y1="{floor}" y2="{floor}" stroke="#5b6b7a"/>"##,
        WIDTH - RIGHT
    ));
    put(format_args!("</svg>"));
    out
}

/// The picture on a page, with everybody's share below.
pub(super) fn html(forecast: &Forecast) -> String {
    let everybody = people(forecast);
    let mut rows = String::new();
    for it in everybody.iter().take(PEOPLE) {
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} on {}</td></tr>",
            escaped(&it.name),
            it.messages,
            it.reminders,
            it.escalations,
            it.most,
            it.most_on
        );
    }
    let more = match everybody.len().saturating_sub(PEOPLE) {
        0 => String::new(),
        more => format!("<p>and {more} more</p>"),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Reminders to come</title>\n<style>\
         body{{font:14px system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#1c2733}}\
         svg{{width:100%;height:auto}}table{{border-collapse:collapse;width:100%}}\
         th,td{{text-align:right;padding:.3rem .6rem;border-bottom:1px solid #dfe5ea}}\
         th:first-child,td:first-child{{text-align:left}}</style></head><body>\n{}\n<table><thead><tr><th>Person</th>\
         <th>Messages</th><th>Reminders</th><th>Escalations</th><th>Most in a day</th></tr></thead><tbody>\n{rows}</tbody></table>{more}\n</body></html>\n",
        svg(forecast)
    )
}

/// The axis ends at a round number that quarters well.
fn rounded_up(most: usize) -> usize {
    let mut step = 4;
    while step * 5 < most {
        step *= if step.to_string().starts_with('4') { 5 } else { 2 };
    }
    most.div_ceil(step).max(1) * step
}

#[expect(clippy::cast_precision_loss, reason = "a picture has no use for more than 52 bits")]
const fn count(number: usize) -> f64 {
    number as f64
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
