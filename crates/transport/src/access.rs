//! Which role may ask for what: a table, in which all that is not said is denied.
//!
//! It stands in ARCHITECTURE.md as well, and a test compares each cell. What a *user* may do is another question, which a guild answers.

use guildhall_proto::call::Call;

use crate::Role;

impl Role {
    /// Whether who has this role may ask for it. A link is dialed by whoever asks, so it is the dialer's role that counts.
    pub fn may_ask(self, call: Call) -> bool {
        allowed(self).contains(&call)
    }
}

/// All that a role may ask for.
const fn allowed(role: Role) -> &'static [Call] {
    match role {
        // Guild nodes ask each other for nothing but whether they are there: guilds do not move yet.
        Role::GuildNode => &[Call::Ping],
        // It acts for its users, and as the system where that is the chat backend's business, and carries what users say. What others' users do, and how the cluster does, is not for it.
        Role::Backend => &[
            Call::Ping,
            Call::Command,
            Call::Import,
            Call::Publish,
            Call::Typing,
            Call::Read,
            Call::Recipients,
            Call::Sessions,
            Call::Feed,
        ],
        // It administers guilds, but neither speaks nor listens in them.
        Role::Operator => &[
            Call::Ping,
            Call::Stats,
            Call::ListGuilds,
            Call::Command,
            Call::Import,
            Call::Read,
            Call::Recipients,
            Call::Export,
            Call::Backup,
        ],
        Role::Observer => &[Call::Ping, Call::Stats, Call::ListGuilds],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in ARCHITECTURE.md: a call, and what each role is told.
    fn written() -> Vec<(String, Vec<String>)> {
        let text = include_str!("../../../ARCHITECTURE.md");
        let head = "| Call | guild-node | backend | operator | observer |\n";
        let (_, rows) = text.split_once(head).expect("ARCHITECTURE.md has the table");
        let cells = |row: &str| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let rows = rows.lines().skip(1).take_while(|row| row.starts_with('|')).map(cells);
        rows.map(|mut cells| (cells.remove(0), cells)).collect()
    }

    #[test]
    fn each_role_is_allowed_and_denied_each_call_as_it_is_written() {
        let told: Vec<(String, Vec<String>)> = Call::ALL
            .into_iter()
            .map(|call| {
                let cell = |role: Role| if role.may_ask(call) { "yes" } else { "no" }.to_owned();
                (format!("`{call:?}`"), Role::ALL.into_iter().map(cell).collect())
            })
            .collect();
        assert_eq!(told, written());
    }

    #[test]
    fn nobody_may_do_everything() {
        for role in Role::ALL {
            assert!(Call::ALL.into_iter().any(|call| !role.may_ask(call)), "{role}");
            assert!(role.may_ask(Call::Ping), "{role}");
        }
    }
}
