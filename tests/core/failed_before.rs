//! Histories that failed once, shortened: the setting, then the steps.
//!
//! They hold what they are named for as long as [`Step::of`](crate::steps::Step::of) reads numbers as it does.

/// A new role had a deleted one's id, and sessions that held the deleted one heard by the new one's rights.
const ROLE_BACK: (u64, &[u64]) = (
    926155078207263778,
    &[
        12392296920962970212,
        8010972750213563801,
        5299200576322521514,
        1324714660088192802,
        4619038574227012524,
        283390893620393428,
        12775586745476613219,
        5361695085855093223,
        2964522546665682515,
        8824821022388524630,
        7190885258511844020,
        3432998479519793920,
        12416308959875477149,
        10080942242729378065,
        3590945803756241600,
        13718358170700561565,
        3130266861897754307,
        13390477233535289333,
    ],
);

/// The same, where of two sessions of one member only the older had been attached before the deletion.
const ROLE_BACK_TO_THE_OLDER_SESSION: (u64, &[u64]) = (
    11688434594445789672,
    &[
        16379236889231394543,
        6906827083357945404,
        9353477946107173618,
        6846071628001253362,
        2534710155119051911,
        4771921262894208545,
        9907119364640012433,
        14280715181622176271,
        6229716942652451817,
        13109160107862058427,
        15243225068792881418,
        17343069588596676255,
        15886927879317668627,
        4985546022869731869,
        6915961819033684131,
    ],
);

pub(crate) const FAILED_BEFORE: &[(u64, &[u64])] = &[ROLE_BACK, ROLE_BACK_TO_THE_OLDER_SESSION];
