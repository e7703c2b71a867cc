//! One value of the wire and the name under which its vector is kept.

use std::fmt::Debug;

use guildhall_proto::codec::{self, Decode, Encode};

/// A value with its name: `Type/note` or `Type::Variant/note`, where the note may be missing.
pub(crate) struct Sample {
    name: String,
    value: Box<dyn Pinned>,
}

impl Sample {
    /// A value of a type without variants.
    pub(crate) fn plain<T: Wire>(name: &str, value: T) -> Self {
        Self { name: name.to_owned(), value: Box::new(value) }
    }

    /// A value of an enum, named by its variant; `note` tells it from others of that variant.
    pub(crate) fn variant<T: Wire + Variants>(note: &str, value: T) -> Self {
        let subject = format!("{}::{}", T::TYPE, value.variant());
        let name = if note.is_empty() { subject } else { format!("{subject}/{note}") };
        Self { name, value: Box::new(value) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The name without its note.
    pub(crate) fn subject(&self) -> String {
        self.name.split('/').next().unwrap_or_default().to_owned()
    }

    /// The name of the value's type.
    pub(crate) fn type_name(&self) -> &str {
        self.name.split(['/', ':']).next().unwrap_or_default()
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        self.value.encoded()
    }

    pub(crate) fn is_decoded_from(&self, bytes: &[u8]) -> bool {
        self.value.is_decoded_from(bytes)
    }

    pub(crate) fn refuses(&self, bytes: &[u8]) -> bool {
        self.value.refuses(bytes)
    }

    pub(crate) fn read_damaged(&self, bytes: &[u8]) {
        self.value.read_damaged(bytes);
    }
}

/// What may stand in a vector.
pub(crate) trait Wire: Encode + Decode<()> + PartialEq + Debug + 'static {}

impl<T: Encode + Decode<()> + PartialEq + Debug + 'static> Wire for T {}

trait Pinned {
    fn encoded(&self) -> Vec<u8>;
    fn is_decoded_from(&self, bytes: &[u8]) -> bool;
    fn refuses(&self, bytes: &[u8]) -> bool;
    fn read_damaged(&self, bytes: &[u8]);
}

impl<T: Wire> Pinned for T {
    fn encoded(&self) -> Vec<u8> {
        codec::encode(self).unwrap()
    }

    fn is_decoded_from(&self, bytes: &[u8]) -> bool {
        codec::decode::<T>(bytes).is_ok_and(|value| value == *self)
    }

    fn refuses(&self, bytes: &[u8]) -> bool {
        codec::decode::<T>(bytes).is_err()
    }

    /// Whatever is accepted is a value of the type like any other: it survives the way out and in again.
    fn read_damaged(&self, bytes: &[u8]) {
        if let Ok(value) = codec::decode::<T>(bytes) {
            assert_eq!(codec::decode::<T>(&codec::encode(&value).unwrap()).unwrap(), value);
        }
    }
}

/// An enum that can name its variants.
pub(crate) trait Variants {
    const TYPE: &'static str;
    const VARIANTS: &'static [&'static str];

    fn variant(&self) -> &'static str;
}

/// All variants of `T`, as they are named in vectors.
pub(crate) fn variants_of<T: Variants>() -> impl Iterator<Item = String> {
    T::VARIANTS.iter().map(|variant| format!("{}::{variant}", T::TYPE))
}

/// Lists an enum's variants. The match is exhaustive: a new variant stops the build until it stands here, and then the test until
/// it has a vector.
macro_rules! variants {
    ($type:ident: $($variant:ident),* $(,)?) => {
        impl crate::sample::Variants for $type {
            const TYPE: &'static str = stringify!($type);
            const VARIANTS: &'static [&'static str] = &[$(stringify!($variant)),*];

            fn variant(&self) -> &'static str {
                match self {
                    $(Self::$variant { .. } => stringify!($variant),)*
                }
            }
        }
    };
}

pub(crate) use variants;
