//! The reference of Braze's event types, `TYPES.md` beside this file: made from the table, so that it can't tell another
//! story. `WRITE_REFERENCE=1 cargo test -p wingbeat-engine reference_of_types` writes it anew.

use super::table::{Bot, DROPPED_EMAIL, ROWS, Row};
use std::fmt::Write as _;

const SEED_ROWS: usize = 19;

const INTRODUCTION: &str = "# Event types of Braze Currents

How each type that Braze documents is read: made from [`table.rs`](table.rs) by a test, so don't edit it.

- **kind** is what rules name by `event`; **activity** counts for `last_active_at`, temperature and inactivity (never when
  a machine did it).
- **name** is the event's label. `{a|b}` is the first of these properties that says something, `{ on ?a}` is there only if
  `a` is; where nothing is known it says `(unnamed)`. `{message}` is the campaign's name, else the Canvas' name and step,
  else the id of either. `{group}` is the campaign's or Canvas' name, else the subscription group's by
  `PUT /api/settings`, else its id. `{amount}` is price and currency, `{media}` how many files a message holds.
- **a machine's when**: the event is kept and shown with this as `bot`, and no rule matches it unless it says so.
- **keys**: the properties that say who it is about, beside `user.user_id` (the `braze_id`) and `user.external_user_id`.

A type that is not listed is kept as `other`, with all that it says. Properties are kept as sent, whatever they are.
";

fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let (seed, others) = ROWS.split_at(SEED_ROWS);
    text += "\n## The 19 names that SalesWings users know\n\n";
    table(&mut text, seed.iter());
    let _ = writeln!(text, "\nA bounce with `is_drop` is none: the mail provider did not try.\n");
    table(&mut text, [&DROPPED_EMAIL].into_iter());
    text += "\n## All others\n\n";
    table(&mut text, others.iter());
    text
}

fn table<'r>(text: &mut String, rows: impl Iterator<Item = &'r Row>) {
    *text += "| type | kind | activity | name | a machine's when | keys |\n|---|---|---|---|---|---|\n";
    for row in rows {
        let activity = if row.kind.row().activity { "yes" } else { "" };
        let keys: Vec<String> = row.keys.iter().map(|(_, name)| format!("`{name}`")).collect();
        let _ = writeln!(
            text,
            "| `{}` | `{}` | {activity} | `{}` | {} | {} |",
            row.event_type,
            row.kind.slug(),
            row.label.replace('|', "\\|"),
            machine(row.bot),
            keys.join(", ")
        );
    }
}

fn machine(bot: Bot) -> &'static str {
    match bot {
        Bot::Never => "",
        Bot::MachineOpen => "`machine_open` says anything but `false`",
        Bot::SuspectedClick => "`is_suspected_bot_click`, or `suspected_bot_click_reason` has any",
        Bot::PushClose => "`button_action_type` is `close`",
        Bot::ControlGroup => "`in_control_group`",
        Bot::AlwaysControlGroup => "always: a control group",
    }
}

#[test]
fn the_reference_of_types_is_what_the_table_says() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sources/currents/TYPES.md");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(file, reference()).unwrap();
    }
    let written = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(written, reference(), "TYPES.md is old: see reference.rs");
}
