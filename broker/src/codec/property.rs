//! The properties of MQTT 5 [MQTT 5: 2.2.2]: their identifiers, what kind of value each has, and which packets may
//! carry it. How a block of them is cut into single ones is here too; what they mean is their packets' business.

use std::fmt;

use super::error::DecodeError;
use super::{PacketType, writer};

/// What a property's value looks like on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A variable byte integer.
    Variable,
    /// A string or binary data behind its length.
    Field,
    /// Two strings.
    Pair,
}

use Kind::{Field, Fixed, Pair, Variable};

const WILL: u32 = 1 << Place::WILL.bit;
const APPLICATION: u32 = 1 << Place::APPLICATION.bit;
const CONNECT: u32 = 1 << PacketType::Connect as u32;
const CONNACK: u32 = 1 << PacketType::Connack as u32;
const PUBLISH: u32 = 1 << PacketType::Publish as u32;
const ACKS: u32 = 1 << PacketType::Puback as u32
    | 1 << PacketType::Pubrec as u32
    | 1 << PacketType::Pubrel as u32
    | 1 << PacketType::Pubcomp as u32
    | 1 << PacketType::Suback as u32
    | 1 << PacketType::Unsuback as u32;
const SUBSCRIBE: u32 = 1 << PacketType::Subscribe as u32;
const UNSUBSCRIBE: u32 = 1 << PacketType::Unsubscribe as u32;
const DISCONNECT: u32 = 1 << PacketType::Disconnect as u32;
const AUTH: u32 = 1 << PacketType::Auth as u32;
/// What travels with a message from its publisher to its subscribers.
const MESSAGE: u32 = PUBLISH | WILL | APPLICATION;

/// Where a block of properties stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    bit: u32,
    /// The packet around it, for the errors.
    pub(super) packet: PacketType,
}

impl Place {
    /// The will properties in a CONNECT.
    pub(super) const WILL: Self = Self { bit: 0, packet: PacketType::Connect };
    /// The properties of a message alone, as they are kept.
    pub(super) const APPLICATION: Self = Self { bit: 16, packet: PacketType::Publish };

    pub(super) const fn of(packet: PacketType) -> Self {
        Self { bit: packet as u32, packet }
    }
}

/// Makes the enum from one table: name, identifier, the standard's name, kind of value, places.
macro_rules! properties {
    ($($name:ident = $id:literal, $words:literal, $kind:expr, $places:expr;)+) => {
        /// A property of MQTT 5. Shown by the name which the standard gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Property {
            $(#[doc = concat!(stringify!($id), ": ", $words, ".")] $name = $id,)+
        }

        impl Property {
            #[inline]
            pub(super) const fn from_u8(id: u8) -> Option<Self> {
                Some(match id {
                    $($id => Self::$name,)+
                    _ => return None,
                })
            }

            #[inline]
            const fn kind(self) -> Kind {
                match self { $(Self::$name => $kind,)+ }
            }

            /// Where it may stand, as a set of [`Place::bit`]s.
            #[inline]
            const fn places(self) -> u32 {
                match self { $(Self::$name => $places,)+ }
            }

            const fn words(self) -> &'static str {
                match self { $(Self::$name => $words,)+ }
            }
        }
    };
}

properties! {
    PayloadFormatIndicator = 0x01, "payload format indicator", Fixed(1), MESSAGE;
    MessageExpiryInterval = 0x02, "message expiry interval", Fixed(4), PUBLISH | WILL;
    ContentType = 0x03, "content type", Field, MESSAGE;
    ResponseTopic = 0x08, "response topic", Field, MESSAGE;
    CorrelationData = 0x09, "correlation data", Field, MESSAGE;
    SubscriptionIdentifier = 0x0b, "subscription identifier", Variable, PUBLISH | SUBSCRIBE;
    SessionExpiryInterval = 0x11, "session expiry interval", Fixed(4), CONNECT | CONNACK | DISCONNECT;
    AssignedClientIdentifier = 0x12, "assigned client identifier", Field, CONNACK;
    ServerKeepAlive = 0x13, "server keep alive", Fixed(2), CONNACK;
    AuthenticationMethod = 0x15, "authentication method", Field, CONNECT | CONNACK | AUTH;
    AuthenticationData = 0x16, "authentication data", Field, CONNECT | CONNACK | AUTH;
    RequestProblemInformation = 0x17, "request problem information", Fixed(1), CONNECT;
    WillDelayInterval = 0x18, "will delay interval", Fixed(4), WILL;
    RequestResponseInformation = 0x19, "request response information", Fixed(1), CONNECT;
    ResponseInformation = 0x1a, "response information", Field, CONNACK;
    ServerReference = 0x1c, "server reference", Field, CONNACK | DISCONNECT;
    ReasonString = 0x1f, "reason string", Field, CONNACK | ACKS | DISCONNECT | AUTH;
    ReceiveMaximum = 0x21, "receive maximum", Fixed(2), CONNECT | CONNACK;
    TopicAliasMaximum = 0x22, "topic alias maximum", Fixed(2), CONNECT | CONNACK;
    TopicAlias = 0x23, "topic alias", Fixed(2), PUBLISH;
    MaximumQos = 0x24, "maximum QoS", Fixed(1), CONNACK;
    RetainAvailable = 0x25, "retain available", Fixed(1), CONNACK;
    UserProperty = 0x26, "user property", Pair,
        MESSAGE | CONNECT | CONNACK | ACKS | SUBSCRIBE | UNSUBSCRIBE | DISCONNECT | AUTH;
    MaximumPacketSize = 0x27, "maximum packet size", Fixed(4), CONNECT | CONNACK;
    WildcardSubscriptionAvailable = 0x28, "wildcard subscription available", Fixed(1), CONNACK;
    SubscriptionIdentifierAvailable = 0x29, "subscription identifiers available", Fixed(1), CONNACK;
    SharedSubscriptionAvailable = 0x2a, "shared subscription available", Fixed(1), CONNACK;
}

impl Property {
    /// Does it travel with a message, unchanged?
    #[inline]
    pub(super) const fn is_of_application(self) -> bool {
        self.places() & APPLICATION != 0
    }

    /// May one block hold several of it? Only user properties, and in PUBLISH subscription identifiers.
    #[inline]
    const fn repeats(self, place: Place) -> bool {
        match self {
            Self::UserProperty => true,
            Self::SubscriptionIdentifier => matches!(place.packet, PacketType::Publish),
            _ => false,
        }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

/// Which properties a block has held so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen(u64);

impl Seen {
    /// The property with this identifier, if it may stand here (once more).
    #[inline]
    pub(super) fn admit(&mut self, id: u8, place: Place) -> Result<Property, DecodeError> {
        let packet = place.packet;
        let property = Property::from_u8(id).ok_or(DecodeError::PropertyUnknown { packet, id })?;
        if property.places() >> place.bit & 1 == 0 {
            return Err(DecodeError::PropertyNotAllowed { packet, property });
        }
        let bit = 1 << id;
        if self.0 & bit != 0 && !property.repeats(place) {
            return Err(DecodeError::PropertyTwice { packet, property });
        }
        self.0 |= bit;
        Ok(property)
    }

    /// Has the block held it?
    #[inline]
    pub(super) fn has(self, property: Property) -> bool {
        self.0 >> property as u8 & 1 == 1
    }
}

/// The single properties of a block that has been found valid. Ends early if it is not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Items<'a>(pub(super) &'a [u8]);

/// One property as it travels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item<'a> {
    pub(super) property: Property,
    /// Identifier and value.
    pub(super) bytes: &'a [u8],
}

impl<'a> Item<'a> {
    /// The value alone.
    pub(super) fn value(&self) -> &'a [u8] {
        self.bytes.get(1..).unwrap_or_default()
    }

    /// The value of a property that is a string or binary data.
    pub(super) fn field(&self) -> &'a [u8] {
        self.bytes.get(3..).unwrap_or_default()
    }

    /// The field as text.
    pub(super) fn text(&self) -> &'a str {
        std::str::from_utf8(self.field()).unwrap_or_default()
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Item<'a>> {
        let (&id, value) = self.0.split_first()?;
        let property = Property::from_u8(id)?;
        let value_len = match property.kind() {
            Fixed(len) => len,
            Variable => writer::read_variable(value)?.1,
            Field => field_end(value, 0)?,
            Pair => field_end(value, field_end(value, 0)?)?,
        };
        let (bytes, rest) = self.0.split_at_checked(1 + value_len)?;
        self.0 = rest;
        Some(Item { property, bytes })
    }
}

/// Where the field that begins at `start` ends.
fn field_end(bytes: &[u8], start: usize) -> Option<usize> {
    let (&len, _) = bytes.get(start..)?.split_first_chunk()?;
    Some(start + 2 + usize::from(u16::from_be_bytes(len)))
}
