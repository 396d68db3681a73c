//! Properties of MQTT 5, read past: only those with a number are told.

pub(super) const RECEIVE_MAXIMUM: u8 = 0x21;
pub(super) const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
pub(super) const TOPIC_ALIAS: u8 = 0x23;

/// Takes a number of one to four bytes, seven bits in each, off `bytes`.
pub(super) fn number(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0;
    for shift in [0, 7, 14, 21] {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            break;
        }
    }
    Some(number)
}

/// Takes a length and so many bytes of properties off `bytes`.
pub(super) fn block<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = number(bytes)?;
    let (block, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(block)
}

/// Takes the first property off `block`: its identifier, and its value if that is a number, else 0.
/// `None` if it is unknown or cut off.
pub(super) fn take(block: &mut &[u8]) -> Option<(u8, u32)> {
    let (&identifier, rest) = block.split_first()?;
    *block = rest;
    let value = match identifier {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28..=0x2A => fixed::<1>(block)?,
        0x13 | RECEIVE_MAXIMUM | TOPIC_ALIAS_MAXIMUM | TOPIC_ALIAS => fixed::<2>(block)?,
        0x02 | 0x11 | 0x18 | 0x27 => fixed::<4>(block)?,
        0x0B => u32::try_from(number(block)?).ok()?,
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1A | 0x1C | 0x1F => {
            text(block)?;
            0
        }
        0x26 => {
            text(block)?;
            text(block)?;
            0
        }
        _ => return None,
    };
    Some((identifier, value))
}

fn fixed<const N: usize>(block: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = block.split_first_chunk::<N>()?;
    *block = rest;
    Some(bytes.iter().fold(0, |number, &byte| number << 8 | u32::from(byte)))
}

fn text(block: &mut &[u8]) -> Option<()> {
    let len = fixed::<2>(block)? as usize;
    *block = block.get(len..)?;
    Some(())
}
