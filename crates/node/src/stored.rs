//! A guild as it is stored, looked at without becoming its owner.

use guildhall_guild::{Guild, GuildConfig, RecoverError};
use guildhall_members::View;
use guildhall_proto::{Epoch, GuildId};
use guildhall_store::StoredGuild;

/// What a guild's store comes to, when its records are replayed over its checkpoint.
#[derive(Debug)]
pub enum StoredView {
    /// Its owners stored nothing yet that brought it to life.
    Uncreated,
    /// It lives.
    Alive(View),
    /// It was deleted.
    Deleted,
}

/// Brings a stored guild back as its next owner would, and claims nothing. O(records of the tail), where it is called.
///
/// # Errors
/// [`RecoverError`] if the records are no history of the checkpoint.
pub fn stored_view(guild: GuildId, stored: StoredGuild) -> Result<StoredView, RecoverError> {
    let config = GuildConfig::default();
    let mut state = match stored.checkpoint {
        Some(checkpoint) => Guild::restore(config, guild, checkpoint.structure, checkpoint.base),
        None => Guild::new(config, guild, Epoch::default()),
    };
    for record in &stored.tail {
        state.replay(record)?;
    }
    Ok(match state.view() {
        Some(view) => StoredView::Alive(view),
        None if state.was_deleted() => StoredView::Deleted,
        None => StoredView::Uncreated,
    })
}
