//! A list that nearly every session has empty: one pointer then, where a vector takes three words.
//!
//! Invariant: a list that there is has something in it, so one that empties gives back its room.

use std::mem;
use std::ops::Deref;

/// A list that is nearly always empty, and short otherwise.
#[derive(Debug)]
#[expect(clippy::box_collection, reason = "empty it takes 8 bytes, not 24")]
pub(crate) struct Rare<T>(Option<Box<Vec<T>>>);

impl<T> Default for Rare<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Deref for Rare<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match &self.0 {
            Some(list) => list,
            None => &[],
        }
    }
}

impl<T> Rare<T> {
    pub(crate) fn push(&mut self, item: T) {
        self.0.get_or_insert_default().push(item);
    }

    /// Takes the first away. O(length).
    pub(crate) fn remove_first(&mut self) {
        self.edit(|list| drop(list.remove(0)));
    }

    /// Takes the last away.
    pub(crate) fn remove_last(&mut self) {
        self.edit(|list| drop(list.pop()));
    }

    pub(crate) fn first_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.first_mut()
    }

    /// Takes all, in their order.
    pub(crate) fn take(&mut self) -> Self {
        mem::take(self)
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Vec<T>)) {
        if let Some(list) = &mut self.0 {
            edit(list);
            if list.is_empty() {
                self.0 = None;
            }
        }
    }
}

impl<T> From<Vec<T>> for Rare<T> {
    fn from(list: Vec<T>) -> Self {
        Self(Some(list).filter(|list| !list.is_empty()).map(Box::new))
    }
}

impl<T> IntoIterator for Rare<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.map_or_else(Vec::new, |list| *list).into_iter()
    }
}

impl<T> Extend<T> for Rare<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}
