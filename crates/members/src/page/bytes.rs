//! A page as bytes and back; the form is in [`crate::parts`].

use std::cmp::Ordering;
use std::sync::Arc;

use guildhall_proto::{MemberFlags, Millis, Nick, UserId};

use super::{LONG, OFFSET_BYTES, Page, Row, SHORT_NICK_BYTES};
use crate::config::{NICK_BYTES_MAX, PAGE_MEMBERS_MAX};
use crate::nick;
use crate::parts::{PartError, PartKind, begin, check_length, check_limit, open, put_column};
use crate::role_sets::SetId;

impl Page {
    /// Appends its bytes to `buffer`.
    pub(crate) fn encode_into(&self, buffer: &mut Vec<u8>) {
        begin(buffer, PartKind::Page, [self.len(), self.long_nicks.len(), 0]);
        put_column(buffer, &self.ids, |user| user.get().to_le_bytes());
        put_column(buffer, &self.sets, |set| set.0.to_le_bytes());
        put_column(buffer, &self.by_nick, |row| row.to_le_bytes());
        put_column(buffer, &self.rows, Row::bytes);
        buffer.extend_from_slice(self.long_nicks.as_bytes());
    }

    /// Reads a page of a base that has so many role sets.
    pub(crate) fn decode(bytes: &[u8], sets: usize) -> Result<Self, PartError> {
        let ([len, long_bytes, zero], body) = open(bytes, PartKind::Page)?;
        if len == 0 || zero != 0 {
            return Err(PartError::Malformed { what: "head", at: 0 });
        }
        check_limit("rows", 0, len, PAGE_MEMBERS_MAX)?;
        check_length(body, len * MEMBER_BYTES + long_bytes)?;
        let (ids, body) = body.split_at(len * ID_BYTES);
        let (set_ids, body) = body.split_at(len * SET_BYTES);
        let (by_nick, body) = body.split_at(len * PLACE_BYTES);
        let (rows, long_nicks) = body.split_at(len * ROW_BYTES);
        let page = Self {
            ids: ids_of(ids)?,
            sets: column(set_ids, |set| SetId(u32::from_le_bytes(set))),
            rows: column(rows, Row::from_bytes),
            long_nicks: str::from_utf8(long_nicks)
                .map_err(|error| PartError::Malformed { what: "byte of long nicks", at: error.valid_up_to() })?
                .into(),
            by_nick: column(by_nick, u16::from_le_bytes),
        };
        // Whether any is too large is found without a branch each; which one it is matters only then.
        if page.sets.iter().map(|set| set.0).max().is_some_and(|most| most as usize >= sets) {
            let at = page.sets.iter().position(|set| set.0 as usize >= sets).unwrap_or_default();
            return Err(PartError::Malformed { what: "set of row", at });
        }
        let keys = page.check_nicks()?;
        page.check_order(&keys)?;
        Ok(page)
    }

    /// That every row has a nick that could have been parsed, and long nicks lie one after the other. Returns what
    /// decides most comparisons of two of them.
    fn check_nicks(&self) -> Result<Vec<u64>, PartError> {
        let mut keys = Vec::with_capacity(self.len());
        let mut long_end = 0;
        for (at, row) in self.rows.iter().enumerate() {
            let malformed = PartError::Malformed { what: "nick of row", at };
            let nick = row.checked_nick(&self.long_nicks, &mut long_end).ok_or(malformed)?;
            keys.push(key(nick).ok_or(malformed)?);
        }
        check_length(self.long_nicks.as_bytes(), long_end)?;
        Ok(keys)
    }

    /// That `by_nick` ascends by (folded nick, row). As no row is then there twice and there are as many as rows, all are
    /// there.
    fn check_order(&self, keys: &[u64]) -> Result<(), PartError> {
        let mut last: Option<usize> = None;
        for (at, row) in self.by_nick.iter().enumerate() {
            let row = usize::from(*row);
            check_limit("row by nick", at, row, self.len() - 1)?;
            let order = last.map_or(Ordering::Less, |last| match keys[last].cmp(&keys[row]) {
                decided @ (Ordering::Less | Ordering::Greater) if keys[last] != UNDECIDED && keys[row] != UNDECIDED => {
                    decided
                }
                Ordering::Less | Ordering::Equal | Ordering::Greater => {
                    nick::compare(self.nick(last), self.nick(row)).then(last.cmp(&row))
                }
            });
            if order.is_ge() {
                return Err(PartError::Malformed { what: "row by nick", at });
            }
            last = Some(row);
        }
        Ok(())
    }
}

impl Row {
    fn bytes(&self) -> [u8; ROW_BYTES] {
        let mut bytes = [0; ROW_BYTES];
        bytes[..8].copy_from_slice(&self.joined_at.0.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.flags.0.to_le_bytes());
        bytes[10] = self.nick_len;
        bytes[11..].copy_from_slice(&self.nick);
        bytes
    }

    fn from_bytes(bytes: [u8; ROW_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, low, high, nick_len, nick @ ..] = bytes;
        let joined_at = Millis(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
        Self { joined_at, flags: MemberFlags(u16::from_le_bytes([low, high])), nick_len, nick }
    }

    /// The nick, if it lies where it must: in the row with zeros behind it, or, if too long for that, behind the last
    /// long one, whose end is moved on.
    fn checked_nick<'a>(&'a self, long_nicks: &'a str, long_end: &mut usize) -> Option<&'a [u8]> {
        if !self.is_long() {
            let (nick, rest) = self.nick.split_at_checked(usize::from(self.nick_len))?;
            return rest.iter().all(|byte| *byte == 0).then_some(nick);
        }
        let (offset, len) = self.long();
        let is_placed = offset == *long_end && self.nick[OFFSET_BYTES + 1..].iter().all(|byte| *byte == 0);
        let is_long = len > SHORT_NICK_BYTES && len <= NICK_BYTES_MAX;
        *long_end = offset.checked_add(len)?;
        // By `str`, so that no nick ends within a character.
        let nick = long_nicks.get(offset..*long_end)?;
        (is_placed && is_long).then_some(nick.as_bytes())
    }
}

/// The first eight bytes of a nick, folded, as a number that orders as they do: [`UNDECIDED`] if one is not ASCII. `None`
/// if the bytes are no nick.
fn key(nick: &[u8]) -> Option<u64> {
    let is_plain = nick.iter().all(|byte| (b' '..=b'~').contains(byte));
    let is_trimmed = nick.first().is_some_and(|byte| *byte != b' ') && nick.last().is_some_and(|byte| *byte != b' ');
    if !(is_plain && is_trimmed && nick.len() <= guildhall_proto::limits::NICK_CHARS_MAX) {
        let text = str::from_utf8(nick).ok()?;
        if Nick::parse(text).ok()?.as_str().len() != text.len() {
            return None;
        }
    }
    let mut first = [0; KEY_BYTES];
    let taken = nick.len().min(KEY_BYTES);
    first[..taken].copy_from_slice(&nick[..taken]);
    if !first.is_ascii() {
        return Some(UNDECIDED);
    }
    first.make_ascii_lowercase();
    Some(u64::from_be_bytes(first))
}

fn ids_of(bytes: &[u8]) -> Result<Arc<[UserId]>, PartError> {
    let (words, _) = bytes.as_chunks();
    let mut ids = Vec::with_capacity(words.len());
    let mut last = 0;
    for (at, word) in words.iter().enumerate() {
        let number = u64::from_le_bytes(*word);
        match UserId::new(number) {
            Ok(user) if number > last => ids.push(user),
            Ok(_) | Err(_) => return Err(PartError::Malformed { what: "user of row", at }),
        }
        last = number;
    }
    Ok(ids.into())
}

fn column<T, const N: usize>(bytes: &[u8], entry: impl Fn([u8; N]) -> T) -> Box<[T]> {
    bytes.as_chunks().0.iter().map(|bytes| entry(*bytes)).collect()
}

const ID_BYTES: usize = size_of::<u64>();
const SET_BYTES: usize = size_of::<u32>();
const PLACE_BYTES: usize = size_of::<u16>();
const ROW_BYTES: usize = 24;
/// Bytes a member takes, a long nick apart.
const MEMBER_BYTES: usize = ID_BYTES + SET_BYTES + PLACE_BYTES + ROW_BYTES;
/// Bytes of a nick that are compared first.
const KEY_BYTES: usize = size_of::<u64>();
/// No eight ASCII bytes make this number.
const UNDECIDED: u64 = u64::MAX;

const _: () = assert!(ROW_BYTES == 8 + 2 + 1 + SHORT_NICK_BYTES, "a row is written as it lies in memory");
const _: () = assert!(LONG as usize > SHORT_NICK_BYTES, "the mark is no length");
