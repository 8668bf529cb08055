//! Finds routes that carry our mark in whatever table, next-hop objects, and interfaces by the
//! start of their name, and removes them: for a host that brindle leaves.

use std::fmt;
use std::io;
use std::net::IpAddr;

use futures::TryStreamExt as _;
use rtnetlink::Handle;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope,
};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::super::object::{Kind, Object, ObjectAction, ObjectOp};
use super::super::route::{MAIN_TABLE, PROTOCOL};
use super::{ANSWER_WITHIN, Writer, empty_if_unknown, fine_if_gone, io_error, timed_out};

/// A connection that asks and removes.
pub struct Remover {
    handle: Handle,
    _connection: AbortOnDropHandle<()>,
}

/// A route of ours, as far as that tells it from others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedRoute {
    destination: IpAddr,
    length: u8,
    table: u32,
    metric: u32,
    header: RouteHeader,
}

/// A next-hop object of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkedObject(Object);

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLink {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// What was written down about it (`ip link set alias`).
    pub alias: Option<String>,
}

impl Remover {
    /// Opens the socket in the network namespace of this thread. To be called within a
    /// runtime.
    ///
    /// # Errors
    /// If the kernel refuses it.
    pub fn open() -> io::Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = AbortOnDropHandle::new(tokio::spawn(connection));
        Ok(Self { handle, _connection: connection })
    }

    /// Our routes of both families in all tables.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer.
    pub async fn routes(&self) -> io::Result<Vec<MarkedRoute>> {
        let mut routes = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut message = RouteMessage::default();
            message.header.address_family = family;
            let all = self.handle.route().get(message).execute();
            let ours = all.try_filter_map(async |route| Ok(marked(&route)));
            let found = timeout(ANSWER_WITHIN, ours.try_collect::<Vec<_>>()).await;
            routes.extend(found.map_err(|_| timed_out())?.or_else(empty_if_unknown)?);
        }
        Ok(routes)
    }

    /// Removes a route; that it is gone already is no failure.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer.
    pub async fn remove_route(&self, route: &MarkedRoute) -> io::Result<()> {
        let removal = self.handle.route().del(route.message()).execute();
        fine_if_gone(timeout(ANSWER_WITHIN, removal).await.map_err(|_| timed_out())?)
    }

    /// Our next-hop objects in an order in which they can go: groups before their hops.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer.
    pub fn objects(&self) -> io::Result<Vec<MarkedObject>> {
        let mut ours = Writer::open()?.objects()?;
        ours.retain(Object::is_ours);
        ours.sort_by_key(|object| matches!(object.kind, Kind::Hop(_) | Kind::Blackhole));
        Ok(ours.into_iter().map(MarkedObject).collect())
    }

    /// Removes a next-hop object, and routes that still lead by it; that it is gone already is
    /// no failure.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer.
    pub fn remove_object(&self, object: &MarkedObject) -> io::Result<()> {
        let op = ObjectOp { id: object.0.id, action: ObjectAction::Delete };
        match Writer::open()?.write_objects(&[op])?.pop() {
            Some(Err(refused)) if !matches!(refused.errno, libc::ENOENT | libc::ESRCH) => {
                Err(io::Error::other(refused))
            }
            _ => Ok(()),
        }
    }

    /// The interfaces whose names begin so.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer.
    pub async fn links(&self, prefix: &str) -> io::Result<Vec<NamedLink>> {
        let links = self.handle.link().get().execute();
        let named = links.try_filter_map(async |link| {
            let (mut name, mut alias) = (String::new(), None);
            for attribute in link.attributes {
                match attribute {
                    LinkAttribute::IfName(text) => name = text,
                    LinkAttribute::IfAlias(text) => alias = Some(text),
                    _ => {}
                }
            }
            let link = NamedLink { index: link.header.index, name, alias };
            Ok(link.name.starts_with(prefix).then_some(link))
        });
        let found = timeout(ANSWER_WITHIN, named.try_collect::<Vec<_>>()).await;
        found.map_err(|_| timed_out())?.map_err(io_error)
    }

    /// Removes an interface; that it is gone already is no failure.
    ///
    /// # Errors
    /// If the kernel refuses or does not answer.
    pub async fn remove_link(&self, link: &NamedLink) -> io::Result<()> {
        let removal = self.handle.link().del(link.index).execute();
        fine_if_gone(timeout(ANSWER_WITHIN, removal).await.map_err(|_| timed_out())?)
    }
}

impl MarkedRoute {
    fn message(&self) -> RouteMessage {
        let mut message = RouteMessage::default();
        message.header = RouteHeader {
            // The kernel compares none of these where it is told so.
            scope: RouteScope::NoWhere,
            flags: RouteFlags::empty(),
            ..self.header.clone()
        };
        let destination = match self.destination {
            IpAddr::V4(address) => RouteAddress::Inet(address),
            IpAddr::V6(address) => RouteAddress::Inet6(address),
        };
        message.attributes = vec![
            RouteAttribute::Destination(destination),
            RouteAttribute::Priority(self.metric),
            RouteAttribute::Table(self.table),
        ];
        message
    }
}

impl fmt::Display for MarkedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "route {}/{} metric {}", self.destination, self.length, self.metric)?;
        match self.table {
            MAIN_TABLE => Ok(()),
            table => write!(f, " table {table}"),
        }
    }
}

impl fmt::Display for MarkedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.0.kind {
            Kind::Hop(_) | Kind::Blackhole => "next hop",
            Kind::Group(_) | Kind::Other => "group of next hops",
        };
        write!(f, "{what} {}", self.0.id)
    }
}

/// The route, if it carries our mark.
fn marked(route: &RouteMessage) -> Option<MarkedRoute> {
    let header = &route.header;
    if header.protocol != RouteProtocol::Other(PROTOCOL)
        || header.flags.contains(RouteFlags::Cloned)
    {
        return None;
    }
    let mut table = u32::from(header.table);
    let mut destination: IpAddr = match header.address_family {
        AddressFamily::Inet => [0; 4].into(),
        AddressFamily::Inet6 => [0; 16].into(),
        _ => return None,
    };
    let mut metric = 0;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                destination = (*address).into();
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                destination = (*address).into();
            }
            RouteAttribute::Priority(number) => metric = *number,
            _ => {}
        }
    }
    let length = header.destination_prefix_length;
    Some(MarkedRoute { destination, length, table, metric, header: header.clone() })
}
