//! Who is at the other end of a link: one URI in a certificate, `spiffe://<cluster>/<role>/<name>`, and nothing else of it.
//!
//! Host names, addresses and subjects of certificates mean nothing here. A certificate is read only after it was verified against the cluster's
//! authority; still, whatever is odd about it is refused with its reason, never passed over.

use std::fmt;
use std::str::FromStr;

use x509_parser::extensions::GeneralName;

/// Who somebody is, as the cluster's authority has certified it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// In which cluster.
    pub cluster: Label,
    /// As what.
    pub role: Role,
    /// Under which name: several processes may share one.
    pub name: Label,
}

/// What somebody is to the cluster. What each may ask stands in [`Role::may_ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Owns guilds; the only one that others dial.
    GuildNode,
    /// Holds the connections of end users: a chat backend.
    Backend,
    /// A person or tool that runs the cluster.
    Operator,
    /// Looks at how the cluster does, and never at what is said in it.
    Observer,
}

/// A part of an identity: 1 to 63 characters, each a lower-case letter, a digit, `-`, `.` or `_`, the first a letter or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Box<str>);

/// Why a certificate names nobody, or not somebody who is welcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is no certificate, or what it says of names cannot be read.
    #[error("the certificate, or what it says of names, cannot be read")]
    Unreadable,
    /// It bears no URI.
    #[error("the certificate bears no URI")]
    NoUri,
    /// It bears more than one URI.
    #[error("the certificate bears {count} URIs; exactly one is allowed")]
    SeveralUris {
        /// How many.
        count: usize,
    },
    /// The URI is not of the form `spiffe://<cluster>/<role>/<name>`.
    #[error("{uri:?} is not of the form spiffe://<cluster>/<role>/<name>")]
    Form {
        /// The URI.
        uri: String,
    },
    /// A part of it is no [`Label`].
    #[error("{label:?} may not stand in an identity: 1 to 63 of a-z, 0-9, -, . and _, the first a letter or a digit")]
    Label {
        /// The part.
        label: String,
    },
    /// There is no such role.
    #[error("{role:?} is not a role")]
    UnknownRole {
        /// What stands in its place.
        role: String,
    },
    /// It is of another cluster.
    #[error("{identity} is not of the cluster {cluster}")]
    OtherCluster {
        /// Whose certificate it is.
        identity: Identity,
        /// This cluster.
        cluster: Label,
    },
    /// It has another role than whoever is there must have.
    #[error("{identity} is not a {role}")]
    WrongRole {
        /// Whose certificate it is.
        identity: Identity,
        /// The role wanted.
        role: Role,
    },
}

impl Identity {
    /// Reads a certificate (DER). It is the caller's part to have it verified first.
    ///
    /// # Errors
    /// [`IdentityError`], but for the last two.
    pub fn from_certificate(certificate: &[u8]) -> Result<Self, IdentityError> {
        let (rest, certificate) =
            x509_parser::parse_x509_certificate(certificate).map_err(|_| IdentityError::Unreadable)?;
        let names = certificate.subject_alternative_name().map_err(|_| IdentityError::Unreadable)?;
        if !rest.is_empty() {
            return Err(IdentityError::Unreadable);
        }
        let mut uris = Vec::new();
        for name in names.iter().flat_map(|names| &names.value.general_names) {
            // Names of other sorts are nobody's here; but what cannot be read might have been a second URI.
            if let GeneralName::URI(uri) = name {
                uris.push(*uri);
            } else if let GeneralName::Invalid(..) = name {
                return Err(IdentityError::Unreadable);
            }
        }
        match uris[..] {
            [] => Err(IdentityError::NoUri),
            [uri] => uri.parse(),
            _ => Err(IdentityError::SeveralUris { count: uris.len() }),
        }
    }

    /// Passes it on if it is of `cluster` and, where that is said, has `role`.
    ///
    /// # Errors
    /// [`IdentityError::OtherCluster`], [`IdentityError::WrongRole`].
    pub fn expect(self, cluster: &Label, role: Option<Role>) -> Result<Self, IdentityError> {
        if self.cluster != *cluster {
            return Err(IdentityError::OtherCluster { identity: self, cluster: cluster.clone() });
        }
        match role {
            Some(role) if role != self.role => Err(IdentityError::WrongRole { identity: self, role }),
            Some(_) | None => Ok(self),
        }
    }
}

impl IdentityError {
    /// A stable name of the reason, for a counter.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::NoUri => "no_uri",
            Self::SeveralUris { .. } => "several_uris",
            Self::Form { .. } => "form",
            Self::Label { .. } => "label",
            Self::UnknownRole { .. } => "unknown_role",
            Self::OtherCluster { .. } => "other_cluster",
            Self::WrongRole { .. } => "wrong_role",
        }
    }
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::GuildNode, Self::Backend, Self::Operator, Self::Observer];

    /// As it stands in an identity.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GuildNode => "guild-node",
            Self::Backend => "backend",
            Self::Operator => "operator",
            Self::Observer => "observer",
        }
    }
}

impl Label {
    /// Characters at most.
    pub const CHARS_MAX: usize = 63;

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    /// Takes what [`Identity`] displays, to the letter: no other case, no escapes, no port, no query, no slash at the end.
    fn from_str(uri: &str) -> Result<Self, IdentityError> {
        let form = || IdentityError::Form { uri: uri.to_owned() };
        let parts = uri.strip_prefix(SCHEME).ok_or_else(form)?;
        let mut parts = parts.split('/');
        let (Some(cluster), Some(role), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(form());
        };
        Ok(Self { cluster: cluster.parse()?, role: role.parse()?, name: name.parse()? })
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let found = Self::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| IdentityError::UnknownRole { role: text.to_owned() })
    }
}

impl FromStr for Label {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_allowed = |byte: u8| is_plain(byte) || matches!(byte, b'-' | b'.' | b'_');
        let begins = text.bytes().next().is_some_and(is_plain);
        if !begins || text.len() > Self::CHARS_MAX || !text.bytes().all(is_allowed) {
            return Err(IdentityError::Label { label: text.to_owned() });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}/{}", self.cluster, self.role, self.name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

pub(crate) const SCHEME: &str = "spiffe://";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(uri: &str) -> Result<Identity, IdentityError> {
        uri.parse()
    }

    #[test]
    fn an_identity_is_read_as_it_is_written() {
        let identity = parsed("spiffe://main-1.example/guild-node/a_1").unwrap();
        assert_eq!((identity.cluster.as_str(), identity.role), ("main-1.example", Role::GuildNode));
        assert_eq!(
            (identity.name.as_str(), identity.to_string().as_str()),
            ("a_1", "spiffe://main-1.example/guild-node/a_1")
        );
    }

    #[test]
    fn what_is_only_like_an_identity_is_refused() {
        for uri in [
            "",
            "spiffe:/main/backend/a",
            "SPIFFE://main/backend/a",
            "https://main/backend/a",
            " spiffe://main/backend/a",
            "spiffe://main",
            "spiffe://main/backend",
            "spiffe://main/backend/a/",
            "spiffe://main/backend/a/b",
        ] {
            assert_eq!(parsed(uri), Err(IdentityError::Form { uri: uri.to_owned() }));
        }
        let long = "a".repeat(64);
        for label in
            ["", ".", "..", "-a", "_", "A", "a b", "a%20", "a:1", "a@b", "ä", "a\0", "a\n", "a?b", "a#b", &long]
        {
            let refused = Err(IdentityError::Label { label: label.to_owned() });
            assert_eq!(parsed(&format!("spiffe://{label}/backend/a")), refused);
            assert_eq!(parsed(&format!("spiffe://main/backend/{label}")), refused);
        }
        for role in ["", "Backend", "backend ", "guild_node", "admin"] {
            let refused = Err(IdentityError::UnknownRole { role: role.to_owned() });
            assert_eq!(parsed(&format!("spiffe://main/{role}/a")), refused);
        }
    }

    #[test]
    fn another_cluster_and_another_role_are_not_expected() {
        let identity = parsed("spiffe://main/backend/a").unwrap();
        let (main, other): (Label, Label) = ("main".parse().unwrap(), "main2".parse().unwrap());
        assert_eq!(identity.clone().expect(&main, None), Ok(identity.clone()));
        assert_eq!(identity.clone().expect(&main, Some(Role::Backend)), Ok(identity.clone()));
        let refused = identity.clone().expect(&other, None).unwrap_err();
        assert_eq!(refused, IdentityError::OtherCluster { identity: identity.clone(), cluster: other });
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Backend) {
            let refused = identity.clone().expect(&main, Some(role)).unwrap_err();
            assert_eq!(refused, IdentityError::WrongRole { identity: identity.clone(), role });
        }
    }

    proptest! {
        #[test]
        fn every_identity_is_read_back(
            cluster in "[a-z0-9][a-z0-9._-]{0,62}",
            role in 0_usize..4,
            name in "[a-z0-9][a-z0-9._-]{0,62}",
        ) {
            let uri = format!("spiffe://{cluster}/{}/{name}", Role::ALL[role]);
            let identity = parsed(&uri).unwrap();
            prop_assert_eq!(identity.to_string(), uri);
        }

        #[test]
        fn nothing_but_what_is_displayed_is_taken(
            uri in prop_oneof![".*", "spiffe://[a-zA-Z0-9./%:@_-]{0,20}", "spiffe://main/(backend|observer)/.{0,4}"],
        ) {
            if let Ok(identity) = parsed(&uri) {
                prop_assert_eq!(identity.to_string(), uri);
            }
        }

        #[test]
        fn bytes_that_are_no_certificate_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(Identity::from_certificate(&bytes), Err(IdentityError::Unreadable));
        }
    }
}
