//! What neighbouring ASes are to each other (RFC 9234).

use std::fmt;

/// What one side of a session between ASes is to the other (RFC 9234 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// 0: it sells transit to the other.
    Provider,
    /// 1: a route server of an exchange.
    RouteServer,
    /// 2: it uses the other, a route server.
    RouteServerClient,
    /// 3: it buys transit from the other.
    Customer,
    /// 4: both tell each other of their own customers only.
    Peer,
}

impl Role {
    /// All of them, by their value.
    pub const ALL: [Role; 5] =
        [Role::Provider, Role::RouteServer, Role::RouteServerClient, Role::Customer, Role::Peer];

    /// Its value in the capability (RFC 9234 §4.1).
    pub const fn value(self) -> u8 {
        match self {
            Role::Provider => 0,
            Role::RouteServer => 1,
            Role::RouteServerClient => 2,
            Role::Customer => 3,
            Role::Peer => 4,
        }
    }

    /// The role of that value; `None` for those that stand for nothing.
    pub fn from_value(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.value() == value)
    }

    /// What the other side must be (RFC 9234 §4.2, table 2).
    pub const fn opposite(self) -> Self {
        match self {
            Role::Provider => Role::Customer,
            Role::Customer => Role::Provider,
            Role::RouteServer => Role::RouteServerClient,
            Role::RouteServerClient => Role::RouteServer,
            Role::Peer => Role::Peer,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Provider => "provider",
            Role::RouteServer => "rs-server",
            Role::RouteServerClient => "rs-client",
            Role::Customer => "customer",
            Role::Peer => "peer",
        })
    }
}
