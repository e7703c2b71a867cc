//! Samples of what is said before a version is agreed.

use guildhall_proto::{Hello, HelloAnswer, Instance, NodeId, Version, Versions};

use crate::sample::{Sample, variants, variants_of};

variants!(HelloAnswer: Accepted, NoCommonVersion);

pub(crate) fn variants() -> Vec<String> {
    variants_of::<HelloAnswer>().collect()
}

pub(crate) fn samples() -> Vec<Sample> {
    let (node, instance) = (NodeId::new(7).unwrap(), Instance(u64::MAX));
    vec![
        Sample::plain("Version/1", version(1)),
        Sample::plain("Version/greatest", version(u8::MAX)),
        Sample::plain("Versions/one", versions(1, 1)),
        Sample::plain("Versions/some", versions(2, 5)),
        Sample::plain("Instance/zero", Instance(0)),
        Sample::plain("Hello", Hello { versions: versions(1, 3), node, instance }),
        Sample::variant("", HelloAnswer::Accepted { version: version(3), node, instance }),
        Sample::variant("", HelloAnswer::NoCommonVersion { asked: versions(4, 5), supported: versions(1, 3) }),
    ]
}

fn versions(least: u8, greatest: u8) -> Versions {
    Versions::new(version(least), version(greatest)).unwrap()
}

fn version(number: u8) -> Version {
    Version::new(number).unwrap()
}
