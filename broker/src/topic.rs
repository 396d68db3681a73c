//! Topic names and topic filters: what is valid, which filter matches which name, the `$` rule, the share
//! prefix [MQTT-4.7].
//!
//! Limits that a server sets for itself (bytes, number of levels) are not validity: a packet with a topic of
//! 300 levels is well-formed. [`levels`] counts, the caller compares with its limit.

use thiserror::Error;

/// The most bytes that a name or filter can have: its length travels in two bytes [MQTT-4.7.3-3].
pub const LEN_MAX: usize = u16::MAX as usize;

const SHARE_PREFIX: &str = "$share/";

/// Why a string is no topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// No characters at all [MQTT-4.7.3-1].
    #[error("the topic name is empty")]
    Empty,
    /// More than [`LEN_MAX`] bytes [MQTT-4.7.3-3].
    #[error("the topic name is longer than 65535 bytes")]
    TooLong,
    /// It contains the character U+0000 [MQTT-4.7.3-2].
    #[error("the topic name contains the character U+0000")]
    Nul,
    /// It contains `+` or `#`, which only filters may [MQTT-3.3.2-2].
    #[error("the topic name contains a wildcard (`+` or `#`)")]
    Wildcard,
}

/// Why a string is no topic filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FilterError {
    /// No characters at all [MQTT-4.7.3-1].
    #[error("the topic filter is empty")]
    Empty,
    /// More than [`LEN_MAX`] bytes [MQTT-4.7.3-3].
    #[error("the topic filter is longer than 65535 bytes")]
    TooLong,
    /// It contains the character U+0000 [MQTT-4.7.3-2].
    #[error("the topic filter contains the character U+0000")]
    Nul,
    /// A `#` before the last level [MQTT-4.7.1-2].
    #[error("the topic filter has a `#` that is not its last level")]
    HashNotLast,
    /// A `+` or `#` beside other characters of its level [MQTT-4.7.1-2, 4.7.1-3].
    #[error("the topic filter has a wildcard that does not fill its level")]
    WildcardInLevel,
    /// `$share/` without a group name, with a wildcard in it, or without a filter behind it [MQTT 5: 4.8.2-1,
    /// 4.8.2-2].
    #[error("the shared subscription is not of the form `$share/GROUP/FILTER`")]
    Share,
}

/// Is this a topic name?
///
/// # Errors
/// The first rule that it breaks.
#[inline]
pub fn check_name(name: &str) -> Result<(), NameError> {
    // Without an early exit, so that the compiler can look at many bytes at once.
    let suspect =
        name.bytes().fold(false, |suspect, byte| suspect | (byte == 0) | (byte == b'+') | (byte == b'#'));
    if suspect || name.is_empty() || name.len() > LEN_MAX { Err(name_error(name)) } else { Ok(()) }
}

/// Which rule a bad name breaks.
#[cold]
fn name_error(name: &str) -> NameError {
    if name.is_empty() {
        NameError::Empty
    } else if name.len() > LEN_MAX {
        NameError::TooLong
    } else if name.contains('\0') {
        NameError::Nul
    } else {
        NameError::Wildcard
    }
}

/// Is this a topic filter? One that begins with `$share/` is looked at as any other; see [`share`].
///
/// # Errors
/// The first rule that it breaks.
pub fn check_filter(filter: &str) -> Result<(), FilterError> {
    if filter.is_empty() {
        return Err(FilterError::Empty);
    }
    if filter.len() > LEN_MAX {
        return Err(FilterError::TooLong);
    }
    if filter.contains('\0') {
        return Err(FilterError::Nul);
    }
    let mut levels = filter.split('/').peekable();
    while let Some(level) = levels.next() {
        match level {
            "#" if levels.peek().is_some() => return Err(FilterError::HashNotLast),
            "+" | "#" => {}
            _ if level.contains(['+', '#']) => return Err(FilterError::WildcardInLevel),
            _ => {}
        }
    }
    Ok(())
}

/// A name or filter as it is inside the broker: behind the mount point of its listener, which its client does not see. In a
/// shared subscription the mount point belongs before the filter itself.
#[must_use]
pub fn mounted<'a>(mount: Option<&str>, topic: &'a str) -> std::borrow::Cow<'a, str> {
    let Some(mount) = mount else { return topic.into() };
    match share(topic) {
        Ok(Some(Share { group, filter })) => format!("{SHARE_PREFIX}{group}/{mount}{filter}").into(),
        _ => format!("{mount}{topic}").into(),
    }
}

/// How many levels a name or filter has; empty ones count.
#[must_use]
#[inline]
pub fn levels(topic: &str) -> usize {
    1 + topic.bytes().filter(|&byte| byte == b'/').count()
}

/// Does the name begin with `$`? A filter that begins with a wildcard does not match such names
/// [MQTT-4.7.2-1].
#[must_use]
#[inline]
pub fn starts_with_dollar(name: &str) -> bool {
    name.as_bytes().first() == Some(&b'$')
}

/// A filter that a group of clients shares: each message goes to one of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// The group's name: not empty, without `/`, `+` and `#`.
    pub group: &'a str,
    /// The filter itself, valid.
    pub filter: &'a str,
}

/// Takes a filter of the form `$share/GROUP/FILTER` apart; `None` for every other valid filter [MQTT 5:
/// 4.8.2].
///
/// # Errors
/// [`FilterError::Share`] if the form is not kept, another error if the filter is not valid.
pub fn share(filter: &str) -> Result<Option<Share<'_>>, FilterError> {
    check_filter(filter)?;
    let Some(rest) = filter.strip_prefix(SHARE_PREFIX) else { return Ok(None) };
    match rest.split_once('/') {
        Some((group, filter)) if !group.is_empty() && !group.contains(['+', '#']) && !filter.is_empty() => {
            Ok(Some(Share { group, filter }))
        }
        _ => Err(FilterError::Share),
    }
}

/// Does the filter match the name? Both are valid, and the filter has no share prefix.
///
/// This is the plain definition [MQTT-4.7.1-2, 4.7.1-3, 4.7.2-1, 4.7.3-4], for one filter and one name. For
/// many filters there is the trie, whose tests compare it with this function.
#[must_use]
pub fn matches(filter: &str, name: &str) -> bool {
    if starts_with_dollar(name) && filter.starts_with(['+', '#']) {
        return false;
    }
    let mut names = name.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true; // also with no level left: `a/#` matches `a`
        }
        match names.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

#[cfg(test)]
mod tests;
