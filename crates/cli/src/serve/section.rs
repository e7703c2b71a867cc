//! Sections of the configuration: what a file may say, with the defaults that the parts themselves have.
//!
//! A section lists its options once: the name in the file, how it is written, and the field that it is for. The default is the field's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How an option is written, and what a part is given.
pub(super) trait Written<T>: Sized {
    fn default_of(field: &T) -> Self;

    /// # Errors
    /// Why it cannot be.
    fn checked(&self) -> Result<T, &'static str>;
}

/// Whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Seconds(u64);

/// Whole milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Milliseconds(u64);

/// Threads, or 0 for one a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Threads(usize);

impl Written<Duration> for Seconds {
    fn default_of(field: &Duration) -> Self {
        Self(field.as_secs())
    }

    fn checked(&self) -> Result<Duration, &'static str> {
        Ok(Duration::from_secs(self.0))
    }
}

impl Written<Duration> for Milliseconds {
    fn default_of(field: &Duration) -> Self {
        Self(u64::try_from(field.as_millis()).unwrap_or(u64::MAX))
    }

    fn checked(&self) -> Result<Duration, &'static str> {
        Ok(Duration::from_millis(self.0))
    }
}

impl Written<usize> for Threads {
    fn default_of(_: &usize) -> Self {
        Self(0)
    }

    fn checked(&self) -> Result<usize, &'static str> {
        match self.0 {
            0 => Ok(std::thread::available_parallelism().map_or(1, usize::from)),
            1..=THREADS_MAX => Ok(self.0),
            _ => Err("is more threads than there may be"),
        }
    }
}

macro_rules! number {
    ($($number:ty)*) => {
        $(impl Written<$number> for $number {
            fn default_of(field: &$number) -> Self {
                *field
            }

            fn checked(&self) -> Result<$number, &'static str> {
                if *self == 0 { Err("must not be 0") } else { Ok(*self) }
            }
        })*
    };
}

number!(u32 u64 usize);

/// Makes a section: `name: how it is written = the field it is for`.
macro_rules! section {
    ($(#[doc = $doc:literal])* $section:ident for $config:ty = $default:expr; $($name:ident: $written:ty = $($field:ident).+;)*) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct $section {
            $($name: $written,)*
        }

        impl Default for $section {
            fn default() -> Self {
                let config: $config = $default;
                Self { $($name: $crate::serve::section::Written::default_of(&config.$($field).+),)* }
            }
        }

        impl $section {
            /// Hands the options to the part that they are for.
            ///
            /// # Errors
            /// Which option cannot be so, and why.
            pub(super) fn apply(&self, config: &mut $config) -> Result<(), String> {
                use $crate::serve::section::Written;
                $(
                    config.$($field).+ =
                        self.$name.checked().map_err(|why| format!("{} {why}", stringify!($name)))?;
                )*
                Ok(())
            }
        }
    };
}

pub(super) use section;

/// More than any machine has a use for.
const THREADS_MAX: usize = 1_024;
