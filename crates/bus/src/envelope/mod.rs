//! `CloudEvents` 1.0, in and out: `event` writes ours, `rejected` reports what we refused, `decode` reads what
//! upstream systems send in any of the accepted forms, `command` says what is asked for, `identity` by what even a broken message is
//! known.

pub(crate) mod command;
pub(crate) mod decode;
pub(crate) mod event;
pub(crate) mod identity;
pub(crate) mod percent;
pub(crate) mod rejected;
