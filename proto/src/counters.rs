//! How what is counted is written down: once, with its name and what it means.
//!
//! A crate that counts lists its counters; names are the metrics' own, reasons included, so that what is shown anywhere is a closed list.

/// Makes `Counter`, an enum of what is counted, of a list of `/// what` `Name: "metric_name",`: with `ALL` of them, and the `name` of each.
///
/// ```
/// guildhall_proto::counters! {
///     /// Links that were dialed.
///     Dialed: "links_dialed_total",
///     /// Links that ended because nothing came over them.
///     Silent: "links_ended_total{reason=\"silent\"}",
/// }
/// assert_eq!(Counter::ALL, [Counter::Dialed, Counter::Silent]);
/// assert_eq!(Counter::Dialed.name(), "links_dialed_total");
/// ```
#[macro_export]
macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident: $text:literal,)*) => {
        /// What is counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Counter {
            $($(#[doc = $doc])* $name,)*
        }

        impl Counter {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The metric's name, reason included.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

/// Makes `Counters` of the `Counter` beside it, with one cell each: for what is not counted so often that threads would wait for one another.
///
/// ```
/// guildhall_proto::counters! {
///     /// Links that were dialed.
///     Dialed: "links_dialed_total",
/// }
/// guildhall_proto::counter_cells! {
///     /// What one endpoint counts.
/// }
/// let counters = Counters::default();
/// counters.add(Counter::Dialed, 2);
/// assert_eq!(counters.of(Counter::Dialed), 2);
/// assert_eq!(counters.pull()["links_dialed_total"], 2);
/// ```
#[macro_export]
macro_rules! counter_cells {
    ($(#[doc = $doc:literal])*) => {
        $(#[doc = $doc])*
        pub struct Counters([::std::sync::atomic::AtomicU64; Counter::ALL.len()]);

        impl Counters {
            pub(crate) fn add(&self, counter: Counter, by: u64) {
                self.0[counter as usize].fetch_add(by, ::std::sync::atomic::Ordering::Relaxed);
            }

            /// How often that was counted.
            pub fn of(&self, counter: Counter) -> u64 {
                self.0[counter as usize].load(::std::sync::atomic::Ordering::Relaxed)
            }

            /// All of them by name. Each is exact; they are not taken at one instant.
            pub fn pull(&self) -> ::std::collections::BTreeMap<&'static str, u64> {
                Counter::ALL.iter().map(|counter| (counter.name(), self.of(*counter))).collect()
            }
        }

        impl Default for Counters {
            fn default() -> Self {
                Self(::std::array::from_fn(|_| ::std::sync::atomic::AtomicU64::new(0)))
            }
        }

        impl ::std::fmt::Debug for Counters {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_map().entries(self.pull()).finish()
            }
        }
    };
}
