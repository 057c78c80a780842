//! What happened around an onboarding, line by line, for whoever has to find out why a year failed.

use std::fmt::Write as _;

use crate::check::One;

impl One<'_> {
    pub(crate) fn story(&self) -> String {
        let it = &self.world.onboardings[self.place];
        let mut lines = Vec::new();
        let mut line = |at, what: String| lines.push((at, what));
        for (at, job) in it.job.versions() {
            line(*at, format!("{job:?}"));
        }
        for (at, base, every) in &it.rhythms {
            line(*at, format!("every {every} days from {base:?}"));
        }
        for at in &it.heeded {
            line(*at, "a sign of life".to_owned());
        }
        for at in &it.put_off {
            line(*at, "put off for the third time".to_owned());
        }
        for (at, client) in self.world.customers[it.client].client.versions() {
            line(*at, format!("{client:?}"));
        }
        for (at, office) in self.world.office(self.place).versions() {
            line(*at, format!("{office:?}"));
        }
        for (from, to) in &self.world.set_back {
            line(*to, format!("the clock was set back from {from}"));
        }
        for row in self.rows {
            line(
                self.world.true_time(row.planned_at),
                format!(
                    "{} {} due {} by {:?} to {:?} ({}): {} {:?} at {:?} in {:?}, {:?} {:?}",
                    row.kind.as_str(),
                    row.slot,
                    row.due_at,
                    row.channel,
                    row.recipient.as_ref().map(ToString::to_string),
                    row.why,
                    row.status.as_str(),
                    row.reason,
                    row.sent_at,
                    row.message_id,
                    row.detail.as_ref().map(ToString::to_string),
                    row.errors,
                ),
            );
        }
        lines.sort();
        lines.into_iter().fold(format!("{}\n", it.id), |mut text, (at, what)| {
            let _ = writeln!(text, "  {at}: {what}");
            text
        })
    }
}
