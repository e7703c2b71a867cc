//! Members by the beginning of their nick.
//!
//! A base that was ordered by nick is searched in that [order](ordered). Any other is searched [page by page](merged): each page knows its
//! own rows' order.

mod merged;
mod ordered;

use guildhall_proto::Member;

use super::View;
use crate::nick::Prefix;

impl View {
    /// The first at most `limit` members whose nick begins with `prefix`, whatever the case, by (folded nick, user).
    ///
    /// Folding maps each character to lower case by itself; `prefix` is not trimmed; an empty one matches everybody.
    ///
    /// If nicks are [ordered](Self::order_nicks): O(log n + limit + changes), some 30 µs for a hundred members and a thousand changes.
    /// Otherwise O(pages · log page + changes + limit · log pages): a few milliseconds per million members, almost all of
    /// it cache misses, so this is a worker's to do.
    pub fn by_prefix(&self, prefix: &str, limit: usize) -> Vec<Member> {
        let (layers, prefix) = (self.layers(), Prefix::new(prefix));
        match layers.base.nick_order() {
            Some(order) => ordered::search(layers, order, &prefix, limit),
            None => merged::search(layers, &prefix, limit),
        }
    }
}
